/**
 * @file One prompt through a model by the plainest path: each program uncut, every site returned. What cuts, sweeps
 * and batches save, they have to save without changing these numbers.
 */

import type { Backend } from "../../src/backend/backend.ts";
import type { FloatArray, Tensor } from "../../src/core/tensor.ts";
import { tensor } from "../../src/core/tensor.ts";
import type { Architecture, Definition } from "../../src/model/architecture.ts";
import { rotaryTables } from "../../src/model/rope.ts";
import type { WeightStore } from "../../src/model/store.ts";
import { attentionMask, range } from "../../src/numeric/cells.ts";
import { cut } from "../../src/program/cut.ts";
import type { Program } from "../../src/program/program.ts";

export type Values = Readonly<Record<string, Tensor>>;

/** Sites of every layer, and of the two ends. */
export interface PlainRun {
  readonly layers: readonly Values[];
  readonly ends: Values;
}

/** Rotary tables and attention mask of one whole sequence. */
export function blockContext(
  architecture: Architecture,
  layer: number,
  { length, allocate }: { readonly length: number; readonly allocate: (size: number) => FloatArray },
): Values {
  const { rotary, window } = architecture.layers[layer];
  const positions = range(length);
  const mask = allocate(length * length);
  attentionMask(mask, { positions, length, causal: architecture.causal, window });
  const context = { mask: tensor(mask, [1, 1, length, length]) };
  if (rotary === undefined) return context;
  const { cos, sin } = rotaryTables(rotary, positions, allocate);
  const shape = [length, rotary.dims / 2];
  return { ...context, cos: tensor(cos, shape), sin: tensor(sin, shape) };
}

/** Runs a program with every one of its sites wanted (of the unembedding: those of the whole vocabulary). */
export async function runProgram(
  backend: Backend,
  program: Program,
  {
    given,
    inputs,
    length,
  }: { readonly given: readonly string[]; readonly inputs: Values; readonly length: number },
): Promise<Values> {
  const want = [...program.sites.keys()].filter((site) => !site.startsWith("column"));
  const executable = await backend.compile(cut(program, { given, want }));
  return await executable.run(inputs, { dims: { row: 1, token: length, dst: length, src: length } });
}

export async function plainRun(
  { definition, weights, backend }: { definition: Definition; weights: WeightStore; backend: Backend },
  ids: readonly number[],
): Promise<PlainRun> {
  const length = ids.length;
  const { architecture, embed, blocks, unembed } = definition;
  const allocate = (size: number): FloatArray => backend.allocate(size);
  const own = await weights.get("ends");
  const start = await runProgram(backend, embed, {
    given: [],
    inputs: {
      ...own,
      ids: tensor(Int32Array.from(ids), [length]),
      positions: tensor(range(length), [length]),
    },
    length,
  });
  const layers: Values[] = [];
  let stream = start.resid_pre;
  for (const [layer, block] of blocks.entries()) {
    const context = blockContext(architecture, layer, { length, allocate });
    const sites = await runProgram(backend, block, {
      given: ["resid_pre"],
      inputs: { ...(await weights.get(layer)), ...context, resid_pre: stream },
      length,
    });
    layers.push(sites);
    stream = sites.resid_post;
  }
  const end = await runProgram(backend, unembed, {
    given: ["resid_post"],
    inputs: { ...own, resid_post: stream },
    length,
  });
  return { layers, ends: { ...start, ...end } };
}
