/** @file From tokens to the residual stream, and from the residual stream to what a metric reads. */

import type { Fault } from "../core/errors.ts";
import { refuse } from "../core/errors.ts";
import type { FloatArray, Tensor } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import type { Program, Value } from "../program/program.ts";
import { valueOfSite } from "../program/program.ts";
import { meanUnembedding } from "./unembedding.ts";

/**
 * resid_pre of layer 0 [token, d]; positions are those of each token in its sequence.
 * @throws InputError for ids outside the vocabulary, and positions for which no embedding was learned.
 */
export async function embed(model: Model, ids: Int32Array, positions: Int32Array): Promise<FloatArray> {
  requireTokens(model, ids, positions);
  const { embed: program } = model.definition;
  const rows = await lookUp(model, program, [
    ["token_rows", ids],
    ["position_rows", positions],
  ]);
  const alone = program.sites.get("token_rows") === program.sites.get("resid_pre");
  if (alone && rows.token_rows !== undefined) return toPrecision(model, rows.token_rows.data);
  const found = await runEnd(model, program, {
    want: ["resid_pre"],
    known: rows,
    context: {
      ids: { data: ids, shape: [ids.length] },
      positions: { data: positions, shape: [positions.length] },
    },
  });
  return (found.resid_pre as Tensor<FloatArray>).data;
}

/** Rows of tables, read by themselves: by site, for the sites that the program has. */
export async function lookUp(
  model: Model,
  program: Program,
  wanted: readonly (readonly [site: string, rows: ArrayLike<number>])[],
): Promise<Record<string, Tensor<Float32Array>>> {
  const there = wanted.filter(([site]) => program.sites.has(site));
  return Object.fromEntries(
    await Promise.all(
      there.map(async ([site, rows]) => [
        site,
        await model.weights.rows(tableOf(program, valueOfSite(program, site)), Array.from(rows)),
      ]),
    ),
  ) as Record<string, Tensor<Float32Array>>;
}

/** The weight that a value is rows of. */
function tableOf(program: Program, value: Value): string {
  const node = program.nodes.find(({ out }) => out === value);
  if (node === undefined) return value;
  return tableOf(program, (node.op === "take_rows" ? node.args[1] : node.args[0]) ?? "");
}

/** Runs a part of one of the ends, or of its gradient; whole tables are only decoded where the part takes one. */
export async function runEnd(
  model: Model,
  program: Program,
  {
    want,
    known,
    context,
  }: {
    readonly want: readonly string[];
    /** Values of sites. */
    readonly known: Readonly<Record<string, Tensor>>;
    readonly context: Readonly<Record<string, Tensor>>;
  },
): Promise<Record<string, Tensor<FloatArray>>> {
  const executable = await model.compile(program, { given: Object.keys(known), want });
  const { inputs } = executable.program;
  const whole = inputs.some(({ role }) => role.kind === "weight" && role.stored.length > 1);
  const weights: Record<string, Tensor> = {};
  if (whole) Object.assign(weights, await model.weights.get("ends"));
  else {
    for (const { name, role } of inputs) {
      if (role.kind !== "weight") continue;
      weights[name] = await model.weights.rows(
        name,
        Array.from({ length: role.stored[0] ?? 0 }, (_, row) => row),
      );
    }
  }
  try {
    const tensors = inputs.map(({ name }) => [name, known[name] ?? context[name] ?? weights[name]] as const);
    return await executable.run(Object.fromEntries(tensors) as Record<string, Tensor>);
  } finally {
    if (whole) model.weights.release("ends");
  }
}

/** Weights are float32; the reference computes with float64. */
function toPrecision({ backend }: Model, values: Float32Array): FloatArray {
  if (backend.precision === "float32") return values;
  const copy = backend.allocate(values.length);
  copy.set(values);
  return copy;
}

/** What a run's token embeddings are moved by, as in causal tracing. */
export interface EmbeddingOffset {
  /** Positions moved, each once. */
  readonly positions: readonly number[];
  /** Added to resid_pre of layer 0: [position listed, d], row-major. */
  readonly values: ArrayLike<number>;
}

/** Moves the embeddings of a run whose first token is `firstToken` of `residual` [token, d], in place. */
export function addOffset(
  residual: FloatArray,
  firstToken: number,
  offset: EmbeddingOffset | undefined,
): void {
  if (offset === undefined) return;
  const width = offset.values.length / offset.positions.length;
  for (const [row, position] of offset.positions.entries()) {
    const to = (firstToken + position) * width;
    for (let i = 0; i < width; i++) {
      residual[to + i] = (residual[to + i] ?? 0) + (offset.values[row * width + i] ?? 0);
    }
  }
}

/** Engines differ in what they take a row outside a table for: an error, the last row, or whatever lies there. */
function requireTokens({ architecture, definition }: Model, ids: Int32Array, positions: Int32Array): void {
  const { vocabulary, maxPositions } = architecture;
  const faults: Fault[] = [];
  const id = ids.find((one) => one < 0 || one >= vocabulary);
  if (id !== undefined) {
    faults.push({ where: "token ids", found: String(id), wanted: `0 to ${vocabulary - 1}` });
  }
  const learned = definition.embed.inputs.some(({ name }) => name === "positions");
  const length = 1 + positions.reduce((most, position) => Math.max(most, position), -1);
  if (learned && length > maxPositions) {
    faults.push({
      where: "prompt",
      found: `${length} tokens`,
      wanted: `at most ${maxPositions}, as many positions as were learned`,
      fix: "Shorten the prompt.",
    });
  }
  refuse(faults);
}

/** What to read at the end of the model; everything is per token. */
export interface Readout {
  /** Token ids whose logits are wanted. */
  readonly columns?: readonly number[];
  /** log Σ exp over the whole vocabulary. */
  readonly logsumexp?: boolean;
  /** All logits. */
  readonly logits?: boolean;
  /** Mean logit over the vocabulary, at the price of one column; not where logits pass through a soft cap. */
  readonly mean?: boolean;
}

export interface Read {
  /** [token, columns]. */
  readonly columns?: FloatArray;
  /** [token]. */
  readonly logsumexp?: FloatArray;
  /** [token, vocabulary]. */
  readonly logits?: FloatArray;
  /** [token]. */
  readonly mean?: FloatArray;
}

/** Applies final norm and unembedding to resid_post of the last layer [token, d], computing only what is read. */
export async function unembed(model: Model, residual: FloatArray, readout: Readout): Promise<Read> {
  const { logsumexp = false, logits = false, mean = false, ...rest } = readout;
  const { columns = [] } = rest;
  if (mean) {
    if (!logsumexp && !logits) return unembedWithMean(model, residual, columns);
    const [own, whole] = [
      await unembedWithMean(model, residual, columns),
      await unembed(model, residual, { logsumexp, logits }),
    ];
    return { ...own, ...whole };
  }
  const want = [
    ...(columns.length > 0 ? ["columns"] : []),
    ...(logsumexp ? ["logsumexp"] : []),
    ...(logits ? ["logits"] : []),
  ];
  if (want.length === 0 || residual.length === 0) return {};
  const { unembed: program } = model.definition;
  const width = model.architecture.dModel;
  // Without the whole vocabulary the chosen rows are all that has to be read.
  const rows =
    logsumexp || logits
      ? {}
      : await lookUp(model, program, [
          ["column_rows", columns],
          ["column_bias", columns],
        ]);
  const found = await runEnd(model, program, {
    want,
    known: { resid_post: { data: residual, shape: [residual.length / width, width] }, ...rows },
    context: { columns: { data: Int32Array.from(columns), shape: [columns.length] } },
  });
  return Object.fromEntries(want.map((site) => [site, found[site]?.data])) as Read;
}

/** Chosen columns and the mean over all of them, which is that of the mean row. */
async function unembedWithMean(
  model: Model,
  residual: FloatArray,
  columns: readonly number[],
): Promise<Pick<Read, "columns" | "mean">> {
  if (residual.length === 0) return {};
  const { unembed: program } = model.definition;
  const { backend, architecture } = model;
  const { row, bias } = await meanUnembedding(model);
  const rows = await lookUp(model, program, [
    ["column_rows", columns],
    ["column_bias", columns],
  ]);
  const extended = (site: string, last: ArrayLike<number>): Record<string, Tensor> => {
    const own = rows[site];
    if (own === undefined) return {};
    const data = backend.allocate(own.data.length + last.length);
    data.set(own.data);
    data.set(last, own.data.length);
    return { [site]: { data, shape: [columns.length + 1, ...own.shape.slice(1)] } };
  };
  const width = architecture.dModel;
  const tokens = residual.length / width;
  const found = await runEnd(model, program, {
    want: ["columns"],
    known: {
      resid_post: { data: residual, shape: [tokens, width] },
      ...extended("column_rows", row),
      ...extended("column_bias", [bias]),
    },
    context: {},
  });
  const all = found.columns?.data ?? [];
  const own = backend.allocate(tokens * columns.length);
  const mean = backend.allocate(tokens);
  const across = columns.length + 1;
  for (let token = 0; token < tokens; token++) {
    own.set(all.slice(token * across, token * across + columns.length), token * columns.length);
    mean[token] = all[token * across + columns.length] ?? Number.NaN;
  }
  return { columns: own, mean };
}
