/** @file What there is to say about a model before running it. */
import type { Model } from "../model/model.ts";
import { patch } from "../run/edit.ts";
import { passFlops, planSweep, type SweepPlan } from "../run/plan.ts";
import { SITES, siteShape, sitesOf } from "../run/site.ts";
import { DEFAULT_INFO_TOKENS } from "./options/run.ts";

/** `format` of {@link ModelInfo}. */
export const INFO_FORMAT = "crosspatch.info/1";

export interface ModelInfo {
  readonly format: typeof INFO_FORMAT;
  readonly model: string;
  readonly revision?: string;
  readonly architecture: string;
  readonly layers: number;
  readonly d_model: number;
  readonly heads: number;
  readonly kv_heads: number;
  readonly d_head: number;
  readonly d_mlp: number;
  readonly vocabulary: number;
  readonly max_positions: number;
  readonly causal: boolean;
  readonly parameters: number;
  readonly stored_dtype: string;
  /** All weights decoded to float32. */
  readonly float32_bytes: number;
  readonly tokenizer: {
    readonly size: number;
    readonly bos: TokenInfo | null;
    readonly eos: readonly TokenInfo[];
    readonly adds_bos: boolean;
  };
  /** Length of the prompt that shapes and costs are for. */
  readonly tokens: number;
  readonly sites: Readonly<
    Record<string, { readonly axes: readonly string[]; readonly shape: readonly number[] }>
  >;
  /** Patching resid_pre at every layer and position of one pair whose prompts differ from the first token on. */
  readonly sweep: {
    readonly cells: number;
    readonly flops: number;
    /** The same by one whole forward pass a cell. */
    readonly whole_pass_flops: number;
  };
}

interface TokenInfo {
  readonly id: number;
  readonly text: string;
}

/** Describes a model; reads nothing but what loading it read. */
export function describeModel(
  model: Model,
  { tokens = DEFAULT_INFO_TOKENS }: { readonly tokens?: number | undefined } = {},
): ModelInfo {
  const { architecture, definition, tokenizer, source, weights } = model;
  const token = (id: number): TokenInfo => ({ id, text: tokenizer.pieces([id])[0] ?? "" });
  const [block] = definition.blocks;
  const sites = block === undefined ? [] : sitesOf(block);
  const cells = architecture.layers.length * tokens;
  return {
    format: INFO_FORMAT,
    model: source.name,
    ...(source.revision === undefined ? {} : { revision: source.revision }),
    architecture: architecture.name,
    layers: architecture.layers.length,
    d_model: architecture.dModel,
    heads: architecture.heads,
    kv_heads: architecture.kvHeads,
    d_head: architecture.dHead,
    d_mlp: architecture.dMlp,
    vocabulary: architecture.vocabulary,
    max_positions: architecture.maxPositions,
    causal: architecture.causal,
    parameters: weights.totalBytes / 4,
    stored_dtype: source.dtype,
    float32_bytes: weights.totalBytes,
    tokenizer: {
      size: tokenizer.size,
      bos: tokenizer.bosId === undefined ? null : token(tokenizer.bosId),
      eos: tokenizer.eosIds.map(token),
      adds_bos: tokenizer.addsBos,
    },
    tokens,
    sites: Object.fromEntries(
      sites.map((site) => [site, { axes: SITES[site].axes, shape: siteShape(site, architecture, tokens) }]),
    ),
    sweep: {
      cells,
      flops: residualPlan(model, tokens).flops,
      whole_pass_flops: cells * passFlops(model, tokens),
    },
  };
}

function residualPlan(model: Model, tokens: number): SweepPlan {
  const read = [{ position: tokens - 1, readout: { columns: [0, 1] } }]; // an answer and a foil
  return planSweep(model, {
    runs: [0, 1].map((id) => ({ ids: new Array<number>(tokens).fill(id), read })),
    count: model.architecture.layers.length * tokens,
    variant: (index) => ({
      run: 0,
      edits: [patch("resid_pre", Math.floor(index / tokens), { run: 1, where: { pos: [index % tokens] } })],
    }),
  });
}
