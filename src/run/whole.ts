/**
 * @file A whole block as one program, for rows that nobody looks into: queries, keys and values stay inside the
 * engine, and only the residual stream comes out. Attention takes the queries, keys and values of each group of rows
 * from those of all tokens, by number; so do sites behind it at which some tokens are given.
 */

import type { FloatArray, Tensor } from "../core/tensor.ts";
import { sizeOf } from "../core/tensor.ts";
import { cut } from "../program/cut.ts";
import { inline } from "../program/inline.ts";
import type { Shape } from "../program/ops.ts";
import type { Program, Value } from "../program/program.ts";
import { builder, shapeOf, valueOfSite } from "../program/program.ts";
import type { Batch, Group } from "./batch.ts";
import type { Layer, Past } from "./block.ts";
import { rotaryInputs } from "./block.ts";
import { startSites } from "./branch.ts";
import type { SiteName } from "./site.ts";
import { keptName, SITE_NAMES } from "./site.ts";

/** For how many groups there are programs: each takes time to compile, and keeps memory of its own. */
const GROUP_COUNTS = [2, 8];

/** Whether the rows can go through a block in one program. */
export function fitsWhole(batch: Batch): boolean {
  return countFor(batch) !== undefined;
}

/** The smallest number of groups that the rows can be divided into without putting different ones together. */
function countFor({ groups, rows }: Batch): number | undefined {
  return GROUP_COUNTS.find((count) => groups.length <= count && count <= rows.length);
}

/** The batch's groups, the largest halved until there are as many as a program takes. */
function groupsFor(batch: Batch): Group[] {
  const groups = [...batch.groups];
  for (let count = countFor(batch) ?? 0; groups.length < count; ) {
    const largest = groups.reduce((most, { rows }, at) => (rows > (groups[most]?.rows ?? 0) ? at : most), 0);
    const { firstRow, rows, firstToken, ...shape } = groups[largest] as Group;
    const half = rows >> 1;
    const second = { firstRow: firstRow + half, firstToken: firstToken + half * shape.positions.length };
    groups.splice(
      largest,
      1,
      { ...shape, firstRow, firstToken, rows: half },
      { ...shape, ...second, rows: rows - half },
    );
  }
  return groups;
}

export interface WholeRun {
  /** Rows that start with the block. */
  readonly batch: Batch;
  /** Their resid_pre [token, d]. */
  readonly residual: FloatArray;
  readonly past: Past;
  /** Values of rows that come aboard behind attention, by the sites that they start from. They end behind the others. */
  readonly late?: ReadonlyMap<SiteName, FloatArray>;
  /** Which of the layer's batches this is. */
  readonly place: number;
  /** Sites behind attention, by {@link keptName}, at which some tokens have another value than the one computed. */
  readonly replaced?: ReadonlyMap<SiteName, ReplacedTokens>;
}

export interface ReplacedTokens {
  /** Indices among the batch's tokens. */
  readonly tokens: readonly number[];
  /** Their values, one after the other. */
  readonly values: FloatArray;
}

/** Takes rows through a block, if they fit; returns their resid_post, which holds until the layer after the next. */
export async function runWhole(layer: Layer, run: WholeRun): Promise<FloatArray> {
  const { model, contexts } = layer;
  const { batch, past, late = new Map<SiteName, FloatArray>() } = run;
  const { replaced = new Map<SiteName, ReplacedTokens>() } = run;
  const groups = groupsFor(batch);
  const form: Form = {
    groups: groups.length,
    hasPast: past.values !== undefined,
    late: [...late.keys()],
    replaced: SITE_NAMES.filter((site) => replaced.has(site)),
  };
  const whole = wholeBlock(layer, form);
  const given = whole.inputs.filter(({ role }) => role.kind === "state").map(({ name }) => name);
  const executable = await model.compile(whole, { given, want: whole.outputs });

  const rowsOf = (name: string, data: FloatArray): Tensor => {
    const row = shapeOf(whole, name).slice(1).map(Number);
    return { data, shape: [data.length / sizeOf(row), ...row] };
  };
  const inputs: Record<string, Tensor> = {
    ...layer.weights,
    ...rotaryInputs(layer, batch),
    resid_pre: rowsOf("resid_pre", run.residual),
  };
  for (const [site, data] of late) inputs[`late ${site}`] = rowsOf(`late ${site}`, data);
  for (const [site, data] of Object.entries(past.values ?? {})) {
    inputs[`past ${site}`] = rowsOf(`past ${site}`, data);
  }
  const lateTokens = (late.get("z")?.length ?? 0) / (model.architecture.heads * model.architecture.dHead);
  const tokens = batch.tokens + lateTokens;
  for (const [site, { tokens: taken, values }] of replaced) {
    inputs[`given ${site}`] = rowsOf(`given ${site}`, values);
    const from = Int32Array.from({ length: tokens }, (_, token) => token);
    for (const [index, token] of taken.entries()) from[token] = tokens + index;
    inputs[`from ${site}`] = { data: from, shape: [tokens] };
  }
  for (const [index, group] of groups.entries()) {
    const { rows, positions, length } = group;
    inputs[`queries ${index}`] = { data: queryTokens(group), shape: [rows, positions.length] };
    inputs[`keys ${index}`] = { data: keyTokens(batch, group, past), shape: [rows, length] };
    inputs[`mask ${index}`] = {
      data: contexts.mask(layer.kind, group),
      shape: [1, 1, positions.length, length],
    };
  }
  const taken = executable.program.inputs.map(({ name }) => [name, inputs[name] as Tensor] as const);
  // The next layer reads what this one writes.
  const name = `resid_post ${layer.index % 2} ${run.place}`;
  const shape = [tokens, model.architecture.dModel];
  const into = { resid_post: { data: contexts.scratch(name, sizeOf(shape)), shape } };
  const { resid_post } = await executable.run(Object.fromEntries(taken), { into });
  return (resid_post as Tensor<FloatArray>).data;
}

function queryTokens({ firstToken, rows, positions }: Group): Int32Array {
  return Int32Array.from({ length: rows * positions.length }, (_, index) => firstToken + index);
}

/** For each row, the token that each position's key is taken from: its own, or one of the run that it branched from. */
function keyTokens(
  batch: Batch,
  { firstRow, rows, firstToken, positions, length }: Group,
  past: Past,
): Int32Array {
  const tokens = new Int32Array(rows * length);
  const behind = past.values === undefined ? 0 : batch.tokens;
  for (let row = 0; row < rows; row++) {
    const inherited = positions.length === length ? 0 : behind + past.firstToken(firstRow + row);
    const own = firstToken + row * positions.length;
    for (let position = 0; position < length; position++)
      tokens[row * length + position] = inherited + position;
    for (const [index, position] of positions.entries()) tokens[row * length + position] = own + index;
  }
  return tokens;
}

/** What programs of a block differ in. */
interface Form {
  /** How many groups of rows attention is computed of. */
  readonly groups: number;
  /** Whether keys and values of other runs are given: inputs `past rot_k` and `past v`. */
  readonly hasPast: boolean;
  /** Sites that rows start from which come aboard behind attention: inputs `late z`, … */
  readonly late: readonly SiteName[];
  /** Sites with replaced tokens, in order of computation: inputs `given mlp_out`, … and `from mlp_out`, … */
  readonly replaced: readonly SiteName[];
}

const known = new WeakMap<Program, Map<string, Program>>();

function wholeBlock(layer: Layer, form: Form): Program {
  const { program: block } = layer;
  const ofBlock = known.get(block) ?? new Map<string, Program>();
  known.set(block, ofBlock);
  const key = JSON.stringify(form);
  const found = ofBlock.get(key) ?? writeWhole(layer, form);
  ofBlock.set(key, found);
  return found;
}

function writeWhole(layer: Layer, { groups, hasPast, late, replaced }: Form): Program {
  const { program: block } = layer;
  // Where a block goes on behind attention: z, and what goes by it.
  const middle = startSites(layer, "z");
  const b = builder();
  const shape = (site: SiteName, tokens: string): Shape => [
    tokens,
    ...shapeOf(block, valueOfSite(block, site)).slice(1),
  ];
  const beside = middle.filter((site) => site !== "z");
  const before = inline(b, cut(block, { given: ["resid_pre"], want: ["rot_q", "rot_k", "v", ...beside] }), {
    given: {},
  });
  const table = (site: "rot_k" | "v"): Value =>
    hasPast
      ? b.op("concat", [before(site), b.state(`past ${site}`, shape(site, "past"))], { size: "known" })
      : before(site);
  const [keys, values] = [table("rot_k"), table("v")];

  const attention = cut(block, { given: ["queries", "keys", "values"], want: ["z"] });
  const mixed = Array.from({ length: groups }, (_, index) => {
    const [row, dst, src] = [`row ${index}`, `dst ${index}`, `src ${index}`];
    const from = b.context(`keys ${index}`, [row, src], "int");
    const given = {
      queries: b.op("take_rows", [b.context(`queries ${index}`, [row, dst], "int"), before("rot_q")]),
      keys: b.op("take_rows", [from, keys]),
      values: b.op("take_rows", [from, values]),
      mask: b.context(`mask ${index}`, [1, 1, dst, src]),
    };
    return inline(b, attention, { given, dims: { token: `token ${index}` } })("z");
  });

  const token = late.length === 0 ? "token" : "end";
  const together = (site: SiteName, parts: readonly Value[]): Value => {
    const all = late.length === 0 ? parts : [...parts, b.state(`late ${site}`, shape(site, "late"))];
    return all.length === 1 && site !== "z" ? before(site) : b.op("concat", all, { size: token });
  };
  let reached = new Map(
    middle.map((site) => [site, together(site, site === "z" ? mixed : [before(site)])] as const),
  );
  const onward = (want: readonly SiteName[]): ((site: string) => Value) =>
    inline(b, cut(block, { given: [...reached.keys()], want }), {
      given: Object.fromEntries(reached),
      dims: { token },
    });
  for (const site of replaced) {
    const stops = new Set(startSites(layer, site).map((stop) => keptName(block, stop)));
    const value = onward([...stops]);
    reached = new Map([...stops].map((stop) => [stop, value(stop)]));
    const table = b.op("concat", [value(site), b.state(`given ${site}`, shape(site, `given ${site}`))], {
      size: `known ${site}`,
    });
    reached.set(site, b.op("take_rows", [b.context(`from ${site}`, [token], "int"), table]));
  }
  b.site("resid_post", onward(["resid_post"])("resid_post"));
  return b.build(["resid_post"]);
}
