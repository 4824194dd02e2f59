/** @file Taking branches through one layer, in batches of like kind. */

import { groupBy } from "../core/group.ts";
import type { FloatArray } from "../core/tensor.ts";
import { range } from "../numeric/cells.ts";
import { batchEdits } from "./apply.ts";
import type { Batch } from "./batch.ts";
import { batchOf, groupKey } from "./batch.ts";
import type { KeysValues, Layer, SiteValue } from "./block.ts";
import { needsAttention, runBlock } from "./block.ts";
import type { Branch, Companions } from "./branch.ts";
import { changedBy, rowOfRun, runValue, valueAt } from "./branch.ts";
import type { Edit } from "./edit.ts";
import type { SiteName } from "./site.ts";

const DEFAULT_BATCH_TOKENS = 1024;

export interface Advance {
  /** Every run of the sweep, with the positions at which its variants are read. */
  readonly runs: readonly { readonly read: readonly { readonly position: number }[] }[];
  /** Tokens that go through a block together; 1024 if absent. */
  readonly batchTokens: number | undefined;
  readonly companions: Companions;
}

/** Takes every branch through the layer, in batches of like kind; in the last layer only as far as it is read. */
export async function advance(layer: Layer, branches: readonly Branch[], how: Advance): Promise<Branch[]> {
  const last = layer.index === layer.model.definition.blocks.length - 1;
  const { batchTokens = DEFAULT_BATCH_TOKENS } = how;
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
  { runs, companions, last }: Advance & { readonly last: boolean },
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
  if (last) return finish(layer, branches, { ...context, runs });

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
  readonly runs: Advance["runs"];
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
  const { runs, companions, rowEdits, batch, past } = how;
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

  const reads = branches.map(({ run }) => new Set(runs[run]?.read.map(({ position }) => position)));
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

export function rowsOf(
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
