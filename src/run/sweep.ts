/**
 * @file The sweep: many variants of a few runs, layer by layer, nothing computed twice.
 *
 * The unedited runs ("companions") go through the layers together with the variants. At the layer of its first
 * effective edit a variant branches off the companion it is a variant of: it starts at the edited site, holds only
 * the positions that can differ from there on, and reads the keys and values of all others from its companion. A
 * variant whose edits change nothing, bit for bit, is never run. Weights are read once per wave however many
 * variants there are; in the last layer only the positions that are read are computed.
 */

import { groupBy } from "../core/group.ts";
import type { FloatArray, Tensor } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import { range } from "../numeric/cells.ts";
import { frontier } from "../program/cut.ts";
import { batchEdits, changesNothing, placeOf, sourceOf } from "./apply.ts";
import type { Batch, ContextCache, Row } from "./batch.ts";
import { batchOf, contextCache, groupKey } from "./batch.ts";
import type { KeysValues, Layer, SiteValue } from "./block.ts";
import { needsAttention, runBlock } from "./block.ts";
import type { Edit } from "./edit.ts";
import { changedPositions, positionAxis } from "./edit.ts";
import type { Readout } from "./ends.ts";
import { embed } from "./ends.ts";
import { flatIds, flatPositions } from "./forward.ts";
import type { Reading } from "./read.ts";
import { readRows } from "./read.ts";
import type { SiteName } from "./site.ts";
import { SITE_NAMES, SITES, siteShape } from "./site.ts";

/** A run of the sweep that is not edited: base of variants, source of values, or both. */
export interface SweepRun {
  readonly ids: readonly number[];
  /** Positions at which variants of this run are read, ascending, and what is read at each. */
  readonly read: readonly { readonly position: number; readonly readout: Readout }[];
}

/** A run with edits. Values of kind `run` are those of another run of the same sweep, at the same layer. */
export interface Variant {
  /** Index of the run that is edited. */
  readonly run: number;
  readonly edits: readonly Edit[];
}

export interface SweepInput {
  readonly runs: readonly SweepRun[];
  readonly count: number;
  readonly variant: (index: number) => Variant;
}

export interface SweepOptions {
  /** Tokens that go through a block together. More use the matrix units better, and take more memory. */
  readonly batchTokens?: number;
  /** Bytes for the residual streams of variants under way; more variants are done in several waves. */
  readonly stateBytes?: number;
  /**
   * Called once with each variant's reading, in no particular order; `exact` if its edits cannot have changed
   * anything at the positions read, and the reading is its run's own.
   */
  readonly onReading: (index: number, reading: Reading, exact: boolean) => void;
  /** Called once with each run's own reading, before any variant's. */
  readonly onRun?: (run: number, reading: Reading) => void;
  /** Work done so far, in variants × layers. */
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: { readonly aborted: boolean };
}

const DEFAULT_BATCH_TOKENS = 1024;
const DEFAULT_STATE_BYTES = 512 * 2 ** 20;

/** A variant under way. */
interface Branch {
  readonly index: number;
  readonly run: number;
  /** Edits still to come, in order of computation. */
  readonly edits: readonly Edit[];
  readonly positions: Int32Array;
  readonly length: number;
  /** Values at `positions` from which the layer is computed: resid_pre, or the sites around the first edit. */
  readonly state: ReadonlyMap<SiteName, FloatArray>;
}

/** The companions at one layer. */
interface Companions {
  readonly batch: Batch;
  /** Row of each run in the batch; runs that this wave does not need have none. */
  readonly rowOf: ReadonlyMap<number, number>;
  readonly values: ReadonlyMap<SiteName, SiteValue>;
}

/** Evaluates all variants. */
export async function sweep(model: Model, input: SweepInput, options: SweepOptions): Promise<void> {
  const { stateBytes = DEFAULT_STATE_BYTES } = options;
  const perPosition = model.architecture.dModel * (model.backend.precision === "float32" ? 4 : 8);
  const contexts = contextCache(model.architecture, model.backend.allocate);
  const own = new Map<number, Reading>();
  let done = 0;
  for (const wave of waves(input, stateBytes / perPosition)) {
    await runWave(model, { input, options, contexts, own, wave, done });
    done += wave.length;
  }
}

/** Splits the variants, in order, so that the positions held at once stay below the limit (at least one variant each). */
function* waves({ runs, count, variant }: SweepInput, maxPositions: number): Generator<number[]> {
  let wave: number[] = [];
  let held = 0;
  for (let index = 0; index < count; index++) {
    // Input and output of a block are alive at once.
    const size = 2 * (runs[variant(index).run]?.ids.length ?? 0);
    if (wave.length > 0 && held + size > maxPositions) {
      yield wave;
      wave = [];
      held = 0;
    }
    wave.push(index);
    held += size;
  }
  yield wave;
}

interface Wave {
  readonly input: SweepInput;
  readonly options: SweepOptions;
  readonly contexts: ContextCache;
  /** Each run's own reading, made by the first wave. */
  readonly own: Map<number, Reading>;
  readonly wave: readonly number[];
  /** Variants of earlier waves. */
  readonly done: number;
}

const byOrder = (a: Edit, b: Edit): number =>
  a.layer - b.layer || SITE_NAMES.indexOf(a.site) - SITE_NAMES.indexOf(b.site);

async function runWave(model: Model, { input, options, contexts, own, wave, done }: Wave): Promise<void> {
  const { definition, architecture } = model;
  const layers = definition.blocks.length;
  const variants = wave.map((index) => {
    const { run, edits } = input.variant(index);
    return { index, run, edits: [...edits].sort(byOrder) };
  });
  const { batch, rowOf } = companionBatch(input, variants, done === 0);
  let residual = await embed(
    model,
    flatIds(
      input.runs.map(({ ids }) => ids),
      [...rowOf.keys()],
      batch,
    ),
    flatPositions(batch),
  );
  let pending: Pending[] = variants;
  let branches: Branch[] = [];

  for (let index = 0; index < layers; index++) {
    if (options.signal?.aborted) throw new Error("cancelled");
    const program = definition.blocks[index];
    const kind = architecture.layers[index];
    if (program === undefined || kind === undefined) throw new RangeError(`layer ${index}`);
    const weights = await model.weights.get(index);
    if (index + 1 < layers) model.weights.prefetch(index + 1);
    const layer: Layer = { model, index, kind, program, weights, contexts };

    const here = [...pending, ...branches].flatMap(({ edits }) =>
      edits.filter((edit) => edit.layer === index),
    );
    const want = new Set<SiteName>(["rot_k", "v", "resid_post"]);
    for (const { site } of here) for (const needed of startSites(layer, site)) want.add(needed);
    for (const { site } of here) want.add(site);
    want.delete("resid_pre");
    const values = await runBlock(layer, {
      batch,
      known: new Map([["resid_pre", residual]]),
      want: [...want],
    });
    const companions: Companions = { batch, rowOf, values: new Map([...values, ["resid_pre", residual]]) };

    const joined = join(layer, { companions, pending });
    pending = joined.pending;
    branches = await advance(layer, [...branches, ...joined.branches], { input, options, companions });
    residual = values.get("resid_post") as FloatArray;
    options.onProgress?.(done * layers + wave.length * (index + 1), input.count * layers);
  }

  await readAll(model, { input, options, own, wave, batch, rowOf, residual, branches });
}

type Pending = Pick<Branch, "index" | "run" | "edits">;

/** The runs that the wave's variants edit or take values from; in the first wave every run, as all are read then. */
function companionBatch(
  { runs }: SweepInput,
  variants: readonly Pending[],
  all: boolean,
): { readonly batch: Batch; readonly rowOf: ReadonlyMap<number, number> } {
  const used = new Set<number>(all ? runs.keys() : []);
  for (const { run, edits } of variants) {
    used.add(run);
    for (const { value } of edits) if (value.kind === "run") used.add(value.run);
  }
  const length = (run: number): number => runs[run]?.ids.length ?? 0;
  const order = [...used].sort((a, b) => length(a) - length(b) || a - b);
  const batch = batchOf(order.map((run) => ({ positions: range(length(run)), length: length(run) })));
  return { batch, rowOf: new Map(order.map((run, row) => [run, row])) };
}

/** Sites of the companion from which a variant starts that is edited at `site`. */
function startSites({ program }: Layer, site: SiteName): SiteName[] {
  switch (SITES[site].stage) {
    case "before":
      return ["resid_pre"];
    case "attention":
      return ["rot_q", "rot_k", "v", ...around(program, "z").filter((name) => name !== "z")];
    case "after":
      return around(program, site);
  }
}

function around(program: Layer["program"], site: SiteName): SiteName[] {
  return frontier(program, [site], ["resid_post"]).filter((name): name is SiteName => name in SITES);
}

/** Lets the variants branch off whose edits at this layer change something. */
function join(
  layer: Layer,
  { companions, pending }: { readonly companions: Companions; readonly pending: readonly Pending[] },
): { readonly pending: Pending[]; readonly branches: Branch[] } {
  const waiting: Pending[] = [];
  const branches: Branch[] = [];
  const { causal } = layer.model.architecture;
  for (const variant of pending) {
    const effective = dropIdle(layer, variant, companions);
    const here = effective.edits.filter((edit) => edit.layer === layer.index);
    const [first] = here;
    if (first === undefined) {
      waiting.push(effective);
      continue;
    }
    const { length } = rowOfRun(companions, variant.run);
    const narrowed = here.map((edit) => narrow(layer, edit, { companions, run: variant.run }));
    const positions = changedBy(narrowed, { length, causal });
    if (positions.length === 0) {
      waiting.push({ ...effective, edits: effective.edits.slice(here.length) });
      continue;
    }
    const state = new Map<SiteName, FloatArray>();
    for (const site of startSites(layer, first.site)) {
      state.set(site, valueAt(layer, { companions, run: variant.run, site, positions }));
    }
    branches.push({ ...effective, positions, length, state });
  }
  return { pending: waiting, branches };
}

/** Positions that any of the edits changes, ascending. */
function changedBy(edits: readonly Edit[], options: Parameters<typeof changedPositions>[1]): Int32Array {
  const changed = new Set(edits.flatMap((edit) => changedPositions(edit, options)));
  return Int32Array.from(changed).sort();
}

/** Drops the edits at this layer that leave the companion's values as they are, up to the first that does not. */
function dropIdle(layer: Layer, variant: Pending, companions: Companions): Pending {
  const edits = [...variant.edits];
  for (let [first] = edits; first !== undefined && first.layer === layer.index; [first] = edits) {
    const { where } = narrow(layer, first, { companions, run: variant.run });
    if (where[positionAxis(first.site)]?.length !== 0) break;
    edits.shift();
  }
  return { ...variant, edits };
}

/** The edit at those positions alone where it changes the companion's value, bit for bit. */
function narrow(
  layer: Layer,
  edit: Edit,
  { companions, run }: { readonly companions: Companions; readonly run: number },
): Edit {
  if (edit.action !== "replace") return edit;
  const { architecture } = layer.model;
  const { site } = edit;
  const { batch, rowOf, values } = companions;
  const row = rowOf.get(run) ?? 0;
  const place = placeOf(values.get(site) as SiteValue, { architecture, batch, row, site });
  const source = sourceOf(edit, (from, other) => runValue(layer, companions, { edit: from, run: other }));
  const { positions, length } = rowOfRun(companions, run);
  const axis = positionAxis(site);
  const at = (position: number): Edit => ({ ...edit, where: { ...edit.where, [axis]: [position] } });
  const changed = [...(edit.where[axis] ?? positions)].filter(
    (position) => !changesNothing(at(position), { architecture, ...place, positions, length, source }),
  );
  return { ...edit, where: { ...edit.where, [axis]: changed } };
}

function rowOfRun({ batch, rowOf }: Companions, run: number): Row {
  const row = batch.rows[rowOf.get(run) ?? -1];
  if (row === undefined) throw new RangeError(`run ${run} is not part of the sweep`);
  return row;
}

function runValue(
  { model }: Layer,
  companions: Companions,
  { edit, run }: { readonly edit: Edit; readonly run: number },
): Tensor<FloatArray> {
  const { architecture } = model;
  const { batch, rowOf, values } = companions;
  const { length } = rowOfRun(companions, run);
  const { site } = edit;
  const { target, offset, size } = placeOf(values.get(site) as SiteValue, {
    architecture,
    batch,
    row: rowOf.get(run) ?? 0,
    site,
  });
  return { data: target.subarray(offset, offset + size), shape: siteShape(site, architecture, length) };
}

/** A companion's token-wise value at some positions; a copy. */
function valueAt(
  { model }: Layer,
  {
    companions,
    run,
    site,
    positions,
  }: {
    readonly companions: Companions;
    readonly run: number;
    readonly site: SiteName;
    readonly positions: Int32Array;
  },
): FloatArray {
  const { architecture, backend } = model;
  const { batch, rowOf, values } = companions;
  const { length } = rowOfRun(companions, run);
  const { target, offset, size } = placeOf(values.get(site) as SiteValue, {
    architecture,
    batch,
    row: rowOf.get(run) ?? 0,
    site,
  });
  const width = size / length;
  const out = backend.allocate(positions.length * width);
  for (const [index, position] of positions.entries()) {
    const from = offset + position * width;
    out.set(target.subarray(from, from + width), index * width);
  }
  return out;
}

interface Advance {
  readonly input: SweepInput;
  readonly options: SweepOptions;
  readonly companions: Companions;
}

/** Takes every branch through the layer, in batches of like kind; in the last layer only as far as it is read. */
async function advance(layer: Layer, branches: readonly Branch[], how: Advance): Promise<Branch[]> {
  const last = layer.index === layer.model.definition.blocks.length - 1;
  const { batchTokens = DEFAULT_BATCH_TOKENS } = how.options;
  const kinds = groupBy(branches, (branch) => {
    const edited = branch.edits.filter((edit) => edit.layer === layer.index).map((edit) => edit.site);
    return `${[...branch.state.keys()].join()}|${[...new Set(edited)].join()}`;
  });
  const after: Branch[] = [];
  for (const kind of kinds.values()) {
    const keyed = kind.map((branch) => ({ branch, key: groupKey(branch) }));
    keyed.sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.branch.index - b.branch.index));
    let batch: Branch[] = [];
    let tokens = 0;
    for (const { branch } of keyed) {
      if (batch.length > 0 && tokens + branch.positions.length > batchTokens) {
        after.push(...(await advanceBatch(layer, batch, { ...how, last })));
        batch = [];
        tokens = 0;
      }
      batch.push(branch);
      tokens += branch.positions.length;
    }
    after.push(...(await advanceBatch(layer, batch, { ...how, last })));
  }
  return after;
}

async function advanceBatch(
  layer: Layer,
  branches: readonly Branch[],
  { input, companions, last }: Advance & { readonly last: boolean },
): Promise<Branch[]> {
  const batch = batchOf(branches);
  const known = stack(branches, layer.model.backend.allocate);
  const pasts = new Map<number, KeysValues>();
  const past = (row: number): KeysValues => {
    const { run } = branches[row] as Branch;
    let found = pasts.get(run);
    if (found === undefined) {
      found = keysValues(layer, companions, run);
      pasts.set(run, found);
    }
    return found;
  };
  const rowEdits = branches.map(({ edits }) => edits.filter((edit) => edit.layer === layer.index));
  const context = { companions, rowEdits, batch, known, past };
  if (last) return finish(layer, branches, { ...context, input });

  const edits = batchEdits(rowEdits, {
    architecture: layer.model.architecture,
    batch,
    runValue: (edit, run) => runValue(layer, companions, { edit, run }),
  });
  const found = await runBlock(layer, { batch, known, past, edits, want: ["resid_post"] });
  const residual = found.get("resid_post") as FloatArray;
  const width = layer.model.architecture.dModel;
  return branches.map((branch, row) => {
    const from = (batch.offsets[row] ?? 0) * width;
    const own = residual.subarray(from, from + branch.positions.length * width);
    return {
      ...branch,
      edits: branch.edits.filter((edit) => edit.layer > layer.index),
      ...spread(layer, branch, { own, companions }),
    };
  });
}

/**
 * What the next layer starts from. Whatever attends to a changed position can differ from here on: the suffix, or
 * everything. Positions that only the next layer's edits change come from the companion.
 */
function spread(
  layer: Layer,
  branch: Branch,
  { own, companions }: { readonly own: FloatArray; readonly companions: Companions },
): Pick<Branch, "positions" | "state"> {
  const { causal, dModel } = layer.model.architecture;
  const { length, run } = branch;
  const first = causal ? (branch.positions[0] ?? length) : 0;
  const next = branch.edits.filter((edit) => edit.layer === layer.index + 1);
  const before = changedBy(next, { length, causal }).filter((position) => position < first);
  const positions = Int32Array.from([...before, ...range(length - first, first)]);
  if (branch.positions.length === positions.length) {
    return { positions, state: new Map([["resid_pre", own]]) };
  }
  const residual = valueAt(layer, { companions, run, site: "resid_post", positions });
  for (const [index, position] of branch.positions.entries()) {
    const to = positions.indexOf(position) * dModel;
    residual.set(own.subarray(index * dModel, (index + 1) * dModel), to);
  }
  return { positions, state: new Map([["resid_pre", residual]]) };
}

function keysValues(layer: Layer, companions: Companions, run: number): KeysValues {
  const { kvHeads, dHead } = layer.model.architecture;
  const { batch, rowOf, values } = companions;
  const width = kvHeads * dHead;
  const from = (batch.offsets[rowOf.get(run) ?? -1] ?? 0) * width;
  const of = (site: SiteName): FloatArray =>
    (values.get(site) as FloatArray).subarray(from, from + rowOfRun(companions, run).length * width);
  return { keys: of("rot_k"), values: of("v") };
}

/** The states of all branches, one after the other, site by site. */
function stack(
  branches: readonly Branch[],
  allocate: (size: number) => FloatArray,
): Map<SiteName, FloatArray> {
  const stacked = new Map<SiteName, FloatArray>();
  for (const site of branches[0]?.state.keys() ?? []) {
    const parts = branches.map(({ state }) => state.get(site) as FloatArray);
    const whole = allocate(parts.reduce((size, part) => size + part.length, 0));
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    stacked.set(site, whole);
  }
  return stacked;
}

/** Sites whose edits are made before keys and values are put together. */
const KEY_SIDE: ReadonlySet<SiteName> = new Set(["resid_pre", "k_in", "v_in", "k", "v", "rot_k"]);

interface Finish {
  readonly input: SweepInput;
  readonly companions: Companions;
  readonly rowEdits: readonly (readonly Edit[])[];
  readonly batch: Batch;
  readonly known: ReadonlyMap<SiteName, FloatArray>;
  readonly past: (row: number) => KeysValues;
}

/**
 * The last layer: keys and values of every position a branch holds, but queries, and all that follows, only at the
 * positions that are read. Branches none of whose positions are read are left with none.
 */
async function finish(layer: Layer, branches: readonly Branch[], how: Finish): Promise<Branch[]> {
  const { input, companions, rowEdits, batch, past } = how;
  const { architecture, backend } = layer.model;
  const edits = (of: Batch, rows: readonly (readonly Edit[])[]): ReturnType<typeof batchEdits> =>
    batchEdits(rows, {
      architecture,
      batch: of,
      runValue: (edit, run) => runValue(layer, companions, { edit, run }),
    });

  let known: ReadonlyMap<SiteName, SiteValue> = how.known;
  let own: ((row: number) => KeysValues) | undefined;
  if (needsAttention(layer.program, "resid_post", known)) {
    const early = rowEdits.map((list) => list.filter(({ site }) => KEY_SIDE.has(site)));
    const kept = [...known.keys()].filter((site) => site !== "rot_k" && site !== "v");
    const found = await runBlock(layer, {
      batch,
      known,
      past,
      edits: edits(batch, early),
      want: [...kept, "rot_k", "v"],
    });
    known = found;
    own = overlay(branches, {
      batch,
      past,
      found,
      width: architecture.kvHeads * architecture.dHead,
      allocate: backend.allocate,
    });
  }

  const reads = branches.map(({ run }) => new Set(input.runs[run]?.read.map(({ position }) => position)));
  const kept = branches.map(({ positions }, row) =>
    positions.filter((position) => reads[row]?.has(position)),
  );
  const rows = branches
    .map((branch, row) => ({ row, positions: kept[row] ?? new Int32Array(0), length: branch.length }))
    .filter(({ positions }) => positions.length > 0)
    .map((entry) => ({ ...entry, key: groupKey(entry) }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : a.row - b.row));
  const result: Branch[] = branches.map((branch) => ({
    ...branch,
    edits: [],
    positions: new Int32Array(0),
    state: new Map(),
  }));
  if (rows.length === 0) return result;

  const read = batchOf(rows);
  const tokens = rows.flatMap(({ row, positions }) => {
    const at = branches[row]?.positions ?? new Int32Array(0);
    return Array.from(positions, (position) => (batch.offsets[row] ?? 0) + at.indexOf(position));
  });
  const chosen = new Map<SiteName, SiteValue>();
  for (const [site, value] of known)
    chosen.set(site, rowsOf(value as FloatArray, { tokens, of: batch.tokens, allocate: backend.allocate }));
  const late = rows.map(({ row }) =>
    (rowEdits[row] ?? []).filter(({ site }) => own === undefined || !KEY_SIDE.has(site)),
  );
  const found = await runBlock(layer, {
    batch: read,
    known: chosen,
    past: (index) => (own ?? past)(rows[index]?.row ?? 0),
    edits: edits(read, late),
    want: ["resid_post"],
  });
  const residual = found.get("resid_post") as FloatArray;
  const width = architecture.dModel;
  for (const [index, { row, positions }] of rows.entries()) {
    const from = (read.offsets[index] ?? 0) * width;
    const state = new Map<SiteName, FloatArray>([
      ["resid_post", residual.subarray(from, from + positions.length * width)],
    ]);
    result[row] = { ...(branches[row] as Branch), edits: [], positions, state };
  }
  return result;
}

/** Each row's keys and values of the whole sequence: its companion's, overwritten where it has its own. */
function overlay(
  branches: readonly Branch[],
  options: {
    readonly batch: Batch;
    readonly past: (row: number) => KeysValues;
    readonly found: ReadonlyMap<SiteName, SiteValue>;
    readonly width: number;
    readonly allocate: (size: number) => FloatArray;
  },
): (row: number) => KeysValues {
  const { batch, past, found, width, allocate } = options;
  const merged = (row: number, from: FloatArray, own: FloatArray): FloatArray => {
    const whole = allocate(from.length);
    whole.set(from);
    for (const [index, position] of (branches[row]?.positions ?? new Int32Array(0)).entries()) {
      const at = ((batch.offsets[row] ?? 0) + index) * width;
      whole.set(own.subarray(at, at + width), position * width);
    }
    return whole;
  };
  return (row) => ({
    keys: merged(row, past(row).keys, found.get("rot_k") as FloatArray),
    values: merged(row, past(row).values, found.get("v") as FloatArray),
  });
}

function rowsOf(
  value: FloatArray,
  {
    tokens,
    of,
    allocate,
  }: {
    readonly tokens: readonly number[];
    readonly of: number;
    readonly allocate: (size: number) => FloatArray;
  },
): FloatArray {
  const width = value.length / of;
  const out = allocate(tokens.length * width);
  for (const [index, token] of tokens.entries())
    out.set(value.subarray(token * width, (token + 1) * width), index * width);
  return out;
}

interface ReadAll {
  readonly input: SweepInput;
  readonly options: SweepOptions;
  readonly own: Map<number, Reading>;
  readonly wave: readonly number[];
  readonly batch: Batch;
  readonly rowOf: ReadonlyMap<number, number>;
  /** Final residual stream of the companions. */
  readonly residual: FloatArray;
  readonly branches: readonly Branch[];
}

/**
 * Reads the companions in the first wave, then the branches, then gives every variant that never branched its
 * companion's reading: that of the first wave, so that its effect is 0 to the last bit in later ones too.
 */
async function readAll(
  model: Model,
  { input, options, own, wave, batch, rowOf, residual, branches }: ReadAll,
): Promise<void> {
  const width = model.architecture.dModel;
  const companionRow = (run: number, positions: ArrayLike<number>): FloatArray => {
    const start = batch.offsets[rowOf.get(run) ?? -1] ?? 0;
    const rows = Array.from(positions, (position) => start + position);
    return rowsOf(residual, { tokens: rows, of: batch.tokens, allocate: model.backend.allocate });
  };
  const positionsOf = (run: number): number[] => input.runs[run]?.read.map(({ position }) => position) ?? [];

  const unread = [...rowOf.keys()].filter((run) => !own.has(run));
  const runs = unread.map((run) => ({ run, residual: companionRow(run, positionsOf(run)) }));
  await readRows(model, runs, {
    reads: ({ run }) => input.runs[run]?.read ?? [],
    onReading: ({ run }, reading) => {
      own.set(run, reading);
      options.onRun?.(run, reading);
    },
  });

  const active = branches.filter(({ positions }) => positions.length > 0);
  const rows = active.map((branch) => {
    const positions = positionsOf(branch.run);
    // A position that is read but not held is as in the companion.
    const whole = companionRow(branch.run, positions);
    const held = branch.state.get("resid_post") as FloatArray;
    for (const [to, position] of positions.entries()) {
      const from = branch.positions.indexOf(position);
      if (from >= 0) whole.set(held.subarray(from * width, (from + 1) * width), to * width);
    }
    return { run: branch.run, index: branch.index, residual: whole };
  });
  const seen = new Set<number>();
  await readRows(model, rows, {
    reads: ({ run }) => input.runs[run]?.read ?? [],
    onReading: ({ index }, reading) => {
      seen.add(index);
      options.onReading(index, reading, false);
    },
  });
  for (const index of wave) {
    if (!seen.has(index)) options.onReading(index, own.get(input.variant(index).run) ?? [], true);
  }
}
