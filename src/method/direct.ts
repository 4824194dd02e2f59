/**
 * @file Direct logit attribution: what every component of the model adds, by itself and straight to the output, to a
 * logit or a difference of logits. With the final norm's scale held at the run's own value the shares are exact: heads,
 * MLPs, embeddings and biases sum to the logit.
 * Source: Elhage et al. 2021; Wang et al. 2022 (IOI), section 3; McGrath et al. 2023, equation 5 (centred logits).
 */

import { milliseconds } from "../core/clock.ts";
import { type Fault, refuse } from "../core/errors.ts";
import { callback, flag, indices, type OptionChecks, oneOf, optionFaults, seed } from "../core/options.ts";
import type { Prompted } from "../model/fact.ts";
import type { Model } from "../model/model.ts";
import { showTokens, type Tokens } from "../model/pair-tokens.ts";
import { mean } from "../numeric/statistics.ts";
import type { Dataset, Variable } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import { directions, hasSoftcap, type LogitSum } from "../run/direction.ts";
import { unembed } from "../run/ends.ts";
import { forward } from "../run/forward.ts";
import { answered } from "./answers.ts";
import { type ShareOptions, type Shares, shareCaptures, shares } from "./direct-shares.ts";
import { meanOver, type Sample } from "./mean-over.ts";
import { promptFaults } from "./prompt-faults.ts";
import { provenance } from "./provenance.ts";

/** Which prompt of a pair is split: either, or the first less the second. */
export const directOn = ["clean", "corrupt", "difference"] as const;
export type DirectOn = (typeof directOn)[number];

export interface DirectOptions {
  /** Of pairs; a prompt by itself is `clean`. Default clean. */
  readonly on?: DirectOn | undefined;
  /** Logits less their mean over the vocabulary. Makes no odds to a difference of logits. */
  readonly centred?: boolean | undefined;
  /** Heads' shares by the position they read from, as `head_src`; wants prompts of one length. */
  readonly sources?: boolean | undefined;
  /** Layers whose MLP is split into its neurons, as `mlp_neuron`. */
  readonly neuronLayers?: readonly number[] | undefined;
  /** Every prompt's own values, with dim `pair`. */
  readonly perPair?: boolean | undefined;
  /** Of intervals. Default 0. */
  readonly seed?: number | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export const directChecks: OptionChecks<DirectOptions> = {
  on: oneOf(directOn),
  centred: flag,
  sources: flag,
  neuronLayers: indices,
  perPair: flag,
  seed,
  onProgress: callback,
};

/** Prompts captured at once: bounds what their activations take. */
const BATCH = 8;

/** Largest sum of shares off the engine's own logit that passes for rounding, in logits, and as a share of the logit. */
const TOLERANCE = 1e-3;

/**
 * Splits the answer's logit (less the foil's, where there is one) at the last position of each prompt.
 *
 * @returns a dataset with `head` (dims layer, head), `mlp` (layer), `embed`, `pos_embed` (learned positions) and `bias`,
 * which sum to `attrs.total`; over several prompts their means with 95 % intervals. An MLP's own output bias is part of
 * `mlp`, those of attention, of the final norm and of the unembedding make up `bias`.
 * @throws InputError for answers of several tokens, prompts without a second one where that is asked for.
 */
export async function direct(
  model: Model,
  prompts: readonly Prompted[],
  options: DirectOptions = {},
): Promise<Dataset> {
  const started = milliseconds();
  refuse([...optionFaults(options, directChecks), ...promptFaults(prompts)]);
  const { on = "clean", centred = false } = options;
  const asked: ShareOptions = { sources: options.sources ?? false, neuronLayers: options.neuronLayers ?? [] };
  refuse(faultsOf(model, prompts, { ...options, on }));
  const complete = (await answered(model, prompts)).map(({ prompt }) => prompt);
  refuse([...answerFaults(complete), ...(centred ? await capFaults(model) : [])]);
  const sums = complete.map((prompt): LogitSum => ({ terms: termsOf(prompt), centred }));

  const sides = on === "difference" ? (["clean", "corrupt"] as const) : ([on] as const);
  const found: { readonly shares: Shares; readonly total: number; readonly off: number }[][] = [];
  for (const side of sides) {
    const sequences = complete.map((prompt) => (prompt[side] ?? prompt.clean).ids);
    const done = (count: number): void =>
      options.onProgress?.(found.length * complete.length + count, sides.length * complete.length);
    found.push(await split(model, { sequences, sums, centred, asked, done }));
  }
  const [first = [], second] = found;
  const samples = first.map(({ shares: own }, index) =>
    variables(model, own, { from: second?.[index]?.shares }),
  );
  const totals = first.map(({ total }, index) => total - (second?.[index]?.total ?? 0));
  const worst = Math.max(...found.flat().map(({ off }) => off));

  const [prompt] = complete;
  const tokens = prompt === undefined ? undefined : on === "corrupt" ? prompt.corrupt : prompt.clean;
  const summary = meanOver(samples, {
    unit: "logit",
    perSample: options.perPair ?? false,
    seed: options.seed ?? 0,
  });
  const foil = complete.some(({ foils }) => foils.length > 0);
  return dataset({
    attrs: {
      method: "direct",
      metric: foil ? "logit_diff" : centred ? "centred_logit" : "logit",
      unit: "logit",
      on,
      total: mean(totals),
      ...(on === "difference" ? {} : { [`baseline_${on}`]: mean(totals) }),
      sum_max_abs_diff: worst,
      norm: "frozen",
      centred,
      question: questionOf(complete, on),
      options: {
        on,
        centred,
        sources: asked.sources,
        neuron_layers: [...asked.neuronLayers],
        seed: options.seed ?? 0,
      },
      ...summary.attrs,
      ...(await provenance(model, complete)),
      seconds: (milliseconds() - started) / 1000,
    },
    dims: { ...dimsOf(model, { asked, length: tokens?.ids.length ?? 0 }), ...summary.dims },
    coords: { ...coordsOf(asked, complete.length === 1 ? tokens : undefined), ...summary.coords(complete) },
    dataVars: summary.dataVars,
  });
}

function faultsOf(
  { definition, architecture }: Model,
  prompts: readonly Prompted[],
  { on = "clean", sources, neuronLayers = [] }: DirectOptions,
): Fault[] {
  const faults: Fault[] = [];
  if (on !== "clean") {
    for (const { where, corrupt } of prompts) {
      if (corrupt === undefined)
        faults.push({ where, found: "one prompt", wanted: `a clean and a corrupt one for --on ${on}` });
    }
  }
  const lengths = new Set(prompts.map(({ clean }) => clean.ids.length));
  if (sources && lengths.size > 1) {
    faults.push({
      where: "--sources",
      found: `prompts of ${[...lengths].sort((a, b) => a - b).join(", ")} tokens`,
      wanted: "prompts with the same number of tokens",
    });
  }
  const layers = architecture.layers.length;
  const outside = neuronLayers.filter((layer) => layer >= layers);
  if (outside.length > 0) {
    faults.push({ where: "--neurons", found: outside.join(", "), wanted: `layers 0 to ${layers - 1}` });
  }
  if (neuronLayers.length > 0 && !definition.blocks[0]?.sites.has("mlp_post")) {
    faults.push({ where: "--neurons", found: "a model without MLPs", wanted: "one with" });
  }
  return faults;
}

/** Answers and foils of several tokens. */
export function answerFaults(prompts: readonly Prompted[]): Fault[] {
  return prompts.flatMap(({ where, answers, foils }) =>
    [...answers, ...foils]
      .filter(({ ids }) => ids.length > 1)
      .map((option) => ({
        where,
        found: `${JSON.stringify(option.text)}, ${option.ids.length} tokens: ${showTokens(option)}`,
        wanted: "one token: the split is of one position's logits",
      })),
  );
}

/** A soft cap on logits, where centred ones are asked for. */
export async function capFaults(model: Model): Promise<Fault[]> {
  if (!(await hasSoftcap(model))) return [];
  const found = "a model whose logits pass through a soft cap";
  return [{ where: "--centred", found, wanted: "one whose logits are linear", fix: "Give a foil instead." }];
}

/** The mean logit of the answers less that of the foils. */
export function termsOf({ answers, foils }: Prompted): LogitSum["terms"] {
  const of = (options: readonly Tokens[], sign: number) =>
    options.map(({ ids }) => ({ id: ids[0] ?? 0, weight: sign / options.length }));
  return [...of(answers, 1), ...of(foils, -1)];
}

interface Split {
  readonly sequences: readonly (readonly number[])[];
  readonly sums: readonly LogitSum[];
  readonly centred: boolean;
  readonly asked: ShareOptions;
  readonly done: (count: number) => void;
}

async function split(
  model: Model,
  { sequences, sums, centred, asked, done }: Split,
): Promise<{ readonly shares: Shares; readonly total: number; readonly off: number }[]> {
  const width = model.architecture.dModel;
  const found: { readonly shares: Shares; readonly total: number; readonly off: number }[] = [];
  for (let start = 0; start < sequences.length; start += BATCH) {
    const batch = sequences.slice(start, start + BATCH);
    const { caches, residuals } = await forward(model, batch, { capture: shareCaptures(model, asked) });
    const last = model.backend.allocate(batch.length * width);
    for (const [index, residual] of residuals.entries()) last.set(residual.slice(-width), index * width);
    const batchSums = sums.slice(start, start + BATCH);
    const ways = await directions(model, last, batchSums);
    const engine = await engineSums(model, last, { sums: batchSums, centred });
    const runs = caches.map((cache, index) => ({
      cache,
      position: cache.ids.length - 1,
      direction: ways[index] as (typeof ways)[number],
    }));
    for (const [index, own] of (await shares(model, runs, asked)).entries()) {
      const total = ways[index]?.total ?? Number.NaN;
      const off = Math.abs(sumOf(own) - (engine[index] ?? total));
      if (!(off <= TOLERANCE * Math.max(1, Math.abs(total)))) {
        throw new Error(
          `shares sum to ${sumOf(own)}, the logit is ${engine[index]}. This is a defect of crosspatch: please report it.`,
        );
      }
      found.push({ shares: own, total, off });
    }
    done(found.length);
  }
  return found;
}

/** The same sums from the logits of the ordinary readout; centred ones are left to the directions. */
async function engineSums(
  model: Model,
  residuals: ReturnType<Model["backend"]["allocate"]>,
  { sums, centred }: { readonly sums: readonly LogitSum[]; readonly centred: boolean },
): Promise<(number | undefined)[]> {
  if (centred) return sums.map(() => undefined);
  const columns = [...new Set(sums.flatMap(({ terms }) => terms.map(({ id }) => id)))];
  const { columns: logits } = await unembed(model, residuals, { columns });
  return sums.map(({ terms }, row) =>
    terms.reduce(
      (sum, { id, weight }) =>
        sum + weight * (logits?.[row * columns.length + columns.indexOf(id)] ?? Number.NaN),
      0,
    ),
  );
}

function sumOf({ head, mlp, embed, posEmbed = 0, bias }: Shares): number {
  const all = (values: Float64Array): number => values.reduce((sum, value) => sum + value, 0);
  return all(head) + all(mlp) + embed + posEmbed + bias;
}

/** The shares of one prompt as variables; less those of its other prompt where there is one. */
function variables(model: Model, own: Shares, { from }: { readonly from: Shares | undefined }): Sample {
  const hasMlp = model.definition.blocks[0]?.sites.has("mlp_out") ?? false;
  const less = (a: ArrayLike<number>, b: ArrayLike<number> | undefined): Float64Array =>
    Float64Array.from(a, (value, index) => value - (b?.[index] ?? 0));
  const scalar = (a: number, b: number | undefined): Float64Array =>
    less([a], b === undefined ? undefined : [b]);
  const hasNeuronBias = own.neuronBias?.some((value) => value !== 0) ?? false;
  const list: [string, Sample[string] | undefined][] = [
    ["head", { dims: ["layer", "head"], data: less(own.head, from?.head) }],
    ["mlp", hasMlp ? { dims: ["layer"], data: less(own.mlp, from?.mlp) } : undefined],
    ["embed", { dims: [], data: scalar(own.embed, from?.embed) }],
    [
      "pos_embed",
      own.posEmbed === undefined ? undefined : { dims: [], data: scalar(own.posEmbed, from?.posEmbed) },
    ],
    ["bias", { dims: [], data: scalar(own.bias, from?.bias) }],
    [
      "head_src",
      own.headSource && { dims: ["layer", "head", "src"], data: less(own.headSource, from?.headSource) },
    ],
    ["mlp_neuron", own.neuron && { dims: ["mlp_layer", "neuron"], data: less(own.neuron, from?.neuron) }],
    [
      "mlp_bias",
      hasNeuronBias && own.neuronBias
        ? { dims: ["mlp_layer"], data: less(own.neuronBias, from?.neuronBias) }
        : undefined,
    ],
  ];
  return Object.fromEntries(
    list.filter((entry): entry is [string, Sample[string]] => entry[1] !== undefined),
  );
}

function dimsOf(
  { architecture }: Model,
  { asked, length }: { readonly asked: ShareOptions; readonly length: number },
): Record<string, number> {
  return {
    layer: architecture.layers.length,
    head: architecture.heads,
    ...(asked.sources ? { src: length } : {}),
    ...(asked.neuronLayers.length > 0
      ? { mlp_layer: asked.neuronLayers.length, neuron: architecture.dMlp }
      : {}),
  };
}

function coordsOf(asked: ShareOptions, tokens: Tokens | undefined): Record<string, Variable> {
  const coords: Record<string, Variable> = {};
  if (asked.sources && tokens !== undefined) {
    coords.token = { dims: ["src"], data: [...tokens.pieces], attrs: {} };
  }
  if (asked.neuronLayers.length > 0) {
    coords.mlp_layer = { dims: ["mlp_layer"], data: [...asked.neuronLayers], attrs: {} };
  }
  return coords;
}

function questionOf(prompts: readonly Prompted[], on: DirectOn): string {
  const name = (options: readonly Tokens[]): string =>
    options.map(({ text }) => `“${text.trim()}”`).join(" or ");
  const [one] = prompts;
  const several = prompts.length > 1;
  const answer = one === undefined || several ? "the answer" : name(one.answers);
  const foil = one?.foils.length ? ` over ${several ? "the foil" : name(one.foils)}` : "";
  const where = on === "difference" ? " on the clean prompt more than on the corrupt one" : "";
  return `Which component itself argues for ${answer}${foil}${where}?`;
}
