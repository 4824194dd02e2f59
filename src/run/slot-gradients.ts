/**
 * @file Gradients by what each head reads of the residual stream: by the input of its queries, its keys and its
 * values, each by itself. The block's own programs know one input for all heads; here its projections are gone back
 * through head by head, and then its norm.
 */

import type { FloatArray, Tensor } from "../core/tensor.ts";
import type { Slot } from "../model/edge-graph.ts";
import type { CutOptions } from "../program/cut.ts";
import type { Node, Program } from "../program/program.ts";
import { builder, valueOfSite } from "../program/program.ts";
import { gradientSite, vjp } from "../program/vjp.ts";
import type { Batch } from "./batch.ts";
import type { Layer } from "./block.ts";
import type { SiteName } from "./site.ts";

/** How a slot's input becomes queries, keys or values, and by which site every query head has a gradient of its own. */
const SLOT_SITES = {
  q: { input: "q_in", output: "rot_q", byHead: "rot_q" },
  k: { input: "k_in", output: "rot_k", byHead: "k_heads" },
  v: { input: "v_in", output: "v", byHead: "v_heads" },
} as const satisfies Record<Slot, Readonly<Record<string, SiteName>>>;

/** Gradients that {@link slotGradients} starts from. */
export const SLOT_GRADIENT_SITES: readonly SiteName[] = Object.values(SLOT_SITES).map(({ byHead }) => byHead);

/** Gradient by a site of one row of the batch. */
type PlaceOfRow = (
  site: SiteName,
  row: number,
) => { readonly target: FloatArray; readonly offset: number; readonly size: number };

/** Numbers of a stretch of tokens' gradients for all heads: with what the norm needs beside them they stay in a cache. */
const STRETCH_NUMBERS = 1 << 19;

/**
 * Writes the gradients by each query head's input of a slot where the layout has them: vector `first` + head of every
 * token. Under grouped-query attention every query head counts as having keys and values of its own.
 */
export async function slotGradients(
  layer: Layer,
  slot: Slot,
  how: {
    readonly batch: Batch;
    /** Residual stream before the block [token, d]. */
    readonly residual: FloatArray;
    /** Gradients by {@link SLOT_GRADIENT_SITES}. */
    readonly place: PlaceOfRow;
    readonly into: FloatArray;
    readonly layout: RowLayout;
    readonly first: number;
  },
): Promise<void> {
  const { model, program, contexts } = layer;
  const { heads, kvHeads, dHead, dModel } = model.architecture;
  const { batch, residual, place, into, layout, first } = how;
  const { input, output, byHead } = SLOT_SITES[slot];
  const own = flatOf(layer, { batch, place, site: byHead, width: heads * dHead });
  // The query heads of a group in turn: each as if the keys or values were its alone.
  const groups = slot === "q" ? heads : kvHeads;
  const times = heads / groups;
  const stretch = Math.max(1, Math.floor(STRETCH_NUMBERS / (groups * dModel)));
  for (let start = 0; start < batch.tokens; start += stretch) {
    const end = Math.min(batch.tokens, start + stretch);
    const rows = (end - start) * groups;
    const stream = residual.subarray(start * dModel, end * dModel);
    const repeated = contexts.scratch("slot residual", rows * dModel);
    repeatRows(repeated, stream, { width: dModel, times: groups });
    const byNormed = contexts.scratch("slot normed", rows * dModel);
    const found = contexts.scratch("slot gradient", rows * dModel);
    const some = own.subarray(start * heads * dHead, end * heads * dHead);
    for (let member = 0; member < times; member++) {
      const gradient = times === 1 ? some : headsOf(layer, some, { heads, width: dHead, member, times });
      await run(layer, [start, end], {
        batch,
        program: projectionProgram(program, slot, groups),
        cut: { given: ["resid_pre", gradientSite(output)], want: [NORMED_BY_HEAD] },
        states: { resid_pre: stream, [gradientSite(output)]: gradient },
        into: { shape: [end - start, groups, dModel], data: byNormed },
      });
      await run(layer, [start, end], {
        batch,
        program: normProgram(program, slot),
        cut: { given: [input, gradientSite(NORMED)], want: [gradientSite(input)] },
        states: { [input]: repeated, [gradientSite(NORMED)]: byNormed },
        into: { shape: [rows, dModel], data: found },
      });
      for (let row = 0; row < rows; row++) {
        const head = (row % groups) * times + member;
        const to = layout(start + Math.floor(row / groups), first + head);
        into.set(found.subarray(row * dModel, (row + 1) * dModel), to);
      }
    }
  }
}

/** Where a token's vector stands among many vectors of all tokens, which lie together row by row of the batch. */
export type RowLayout = (token: number, vector: number) => number;

/** For each row of the batch [vector, token of the row, width], one row after the other. */
export function rowLayout(
  batch: Batch,
  { vectors, width }: { readonly vectors: number; readonly width: number },
): RowLayout {
  const base = new Int32Array(batch.tokens);
  const stride = new Int32Array(batch.tokens);
  for (const [row, { positions }] of batch.rows.entries()) {
    const start = batch.offsets[row] ?? 0;
    for (let index = 0; index < positions.length; index++) {
      base[start + index] = start * vectors + index;
      stride[start + index] = positions.length;
    }
  }
  return (token, vector) => ((base[token] ?? 0) + vector * (stride[token] ?? 0)) * width;
}

/** A gradient of all tokens in the batch's order [token, width], however its site is laid out. */
export function flatOf(
  { model }: Pick<Layer, "model">,
  from: {
    readonly batch: Batch;
    readonly place: PlaceOfRow;
    readonly site: SiteName;
    readonly width: number;
  },
): FloatArray {
  const { batch, place, site, width } = from;
  const first = place(site, 0);
  if (first.offset === 0 && first.target.length === batch.tokens * width) return first.target;
  const flat = model.backend.allocate(batch.tokens * width);
  for (const row of batch.rows.keys()) {
    const { target, offset, size } = place(site, row);
    flat.set(target.subarray(offset, offset + size), (batch.offsets[row] ?? 0) * width);
  }
  return flat;
}

/** Of each group's query heads, the one of number `member`: [token, H, width] → [token, G, width]. */
function headsOf(
  { model }: Layer,
  value: FloatArray,
  of: {
    readonly heads: number;
    readonly width: number;
    readonly member: number;
    readonly times: number;
  },
): FloatArray {
  const { heads, width, member, times } = of;
  const groups = heads / times;
  const tokens = value.length / (heads * width);
  const out = model.backend.allocate(tokens * groups * width);
  for (let token = 0; token < tokens; token++) {
    for (let group = 0; group < groups; group++) {
      const at = (token * heads + group * times + member) * width;
      out.set(value.subarray(at, at + width), (token * groups + group) * width);
    }
  }
  return out;
}

/** Each row several times, one after the other. */
export function repeatRows(
  into: FloatArray,
  value: FloatArray,
  { width, times }: { readonly width: number; readonly times: number },
): void {
  for (let row = 0; row * width < value.length; row++) {
    const one = value.subarray(row * width, (row + 1) * width);
    for (let copy = 0; copy < times; copy++) into.set(one, (row * times + copy) * width);
  }
}

/** Names that a block's program does not have: the normed stream, and what the projection makes of it. */
const NORMED = "normed";
const PROJECTED = "projected";
const NORMED_BY_HEAD = "d.normed by head";

const projections = new WeakMap<Program, Map<Slot, Program>>();

/** From the gradient by queries, keys or values [token, G, dh] to that by the normed stream, for each head by itself [token, G, d]. */
function projectionProgram(block: Program, slot: Slot, groups: number): Program {
  return remembered(projections, block, slot, () => {
    const linear = projectionOf(block, slot);
    const [, weight = ""] = linear.args;
    const named = withSite(block, PROJECTED, linear.out);
    const back = vjp(named, { of: [SLOT_SITES[slot].output], wrt: [PROJECTED] });
    const b = builder(back);
    const flat = valueOfSite(back, gradientSite(PROJECTED));
    const width = Number(b.shape(flat).at(-1)) / groups;
    const byHead = b.op("reshape", [flat], { shape: ["token", groups, width] });
    const layout = linear.attrs.layout === "out_in" ? "in_out" : "out_in"; // the transposed projection
    b.site(NORMED_BY_HEAD, b.op("head_linear", [byHead, weight], { layout }));
    return b.build([NORMED_BY_HEAD]);
  });
}

const norms = new WeakMap<Program, Map<Slot, Program>>();

/** From the gradient by the normed stream [token, d] to that by the slot's input. */
function normProgram(block: Program, slot: Slot): Program {
  return remembered(norms, block, slot, () => {
    const [normed = ""] = projectionOf(block, slot).args;
    return vjp(withSite(block, NORMED, normed), { of: [NORMED], wrt: [SLOT_SITES[slot].input] });
  });
}

/** The one projection between a slot's input and its output. */
function projectionOf(block: Program, slot: Slot): Node<"linear"> {
  const { input, output } = SLOT_SITES[slot];
  const reached = new Set([valueOfSite(block, input)]);
  const end = valueOfSite(block, output);
  for (const node of block.nodes) {
    if (!node.args.some((value) => reached.has(value))) continue;
    if (node.op === "linear") return node;
    if (node.out === end) break;
    reached.add(node.out);
  }
  throw new Error(`no projection between ${input} and ${output}`);
}

function withSite(program: Program, name: string, value: string): Program {
  return { ...program, sites: new Map([...program.sites, [name, value]]) };
}

function remembered<K>(
  known: WeakMap<Program, Map<K, Program>>,
  block: Program,
  key: K,
  make: () => Program,
): Program {
  const ofBlock = known.get(block) ?? new Map<K, Program>();
  known.set(block, ofBlock);
  const found = ofBlock.get(key) ?? make();
  ofBlock.set(key, found);
  return found;
}

/** Runs a token-wise cut that wants one site, for a stretch of the batch's tokens, into an array. */
async function run(
  layer: Layer,
  [start, end]: readonly [number, number],
  how: {
    readonly batch: Batch;
    readonly program: Program;
    readonly cut: CutOptions;
    readonly states: Readonly<Record<string, FloatArray>>;
    readonly into: Tensor<FloatArray>;
  },
): Promise<void> {
  const { batch, program, cut, states, into } = how;
  const executable = await layer.model.compile(program, cut);
  const given: Record<string, Tensor> = { ...layer.weights };
  const rotary = layer.contexts.rotary(layer.kind, batch);
  if (rotary !== undefined) {
    const width = rotary.cos.length / batch.tokens;
    const of = (table: FloatArray): Tensor => ({
      data: table.subarray(start * width, end * width),
      shape: [end - start, width],
    });
    given.cos = of(rotary.cos);
    given.sin = of(rotary.sin);
  }
  const inputs = executable.program.inputs.map(({ name, shape, role }): [string, Tensor] => [
    name,
    role.kind === "state"
      ? { data: states[name] as FloatArray, shape: [into.shape[0] ?? 0, ...shape.slice(1).map(Number)] }
      : (given[name] as Tensor),
  ]);
  await executable.run(Object.fromEntries(inputs), { into: { [cut.want[0] ?? ""]: into } });
}
