/**
 * @file Generation with cached keys and values, greedy or sampled, with edits on the prompt alone or on every step.
 */

import { random } from "../core/random.ts";
import type { FloatArray } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import { range } from "../numeric/cells.ts";
import { batchEdits } from "./apply.ts";
import { batchOf, contextCache, flatPositions } from "./batch.ts";
import { runBlock } from "./block.ts";
import type { Edit } from "./edit.ts";
import { positionAxis } from "./edit.ts";
import { embed, unembed } from "./ends.ts";
import type { Cache } from "./forward.ts";

export interface GenerateOptions {
  /** Most tokens to generate. */
  readonly tokens: number;
  /** 0 (default) takes the most likely token; above, logits are divided by it before sampling. */
  readonly temperature?: number | undefined;
  /** Sample among the most likely only. */
  readonly topK?: number | undefined;
  readonly seed?: number | undefined;
  /** Ids that end the text; the tokenizer's own if absent. */
  readonly stopIds?: readonly number[] | undefined;
  readonly edits?: readonly Edit[] | undefined;
  /**
   * `prefill`: edits are made while the prompt is read, and what is generated follows from them. `every-step`: an
   * edit that names no position is also made at every generated one. Edits at named positions are made when that
   * position is computed, in either case.
   */
  readonly editOn?: "prefill" | "every-step" | undefined;
  /** Runs that edits of kind `run` take values from. */
  readonly runs?: readonly Cache[] | undefined;
  readonly onToken?: ((id: number) => void) | undefined;
}

export interface Generated {
  /** Ids after the prompt. */
  readonly ids: readonly number[];
  /** Natural logarithm of each token's probability, before any temperature. */
  readonly logprobs: readonly number[];
}

/** Keys and values so far, one entry a layer, with room for the whole text. */
type Past = { readonly keys: FloatArray; readonly values: FloatArray }[];

/**
 * Continues a prompt.
 *
 * Where attention is causal, keys and values of earlier tokens are kept; a model that is not is run whole for every
 * token, as everything changes when a token is added.
 */
export async function generate(
  model: Model,
  prompt: readonly number[],
  options: GenerateOptions,
): Promise<Generated> {
  const { temperature = 0, topK = model.architecture.vocabulary, tokens } = options;
  const stop = new Set(options.stopIds ?? model.tokenizer.eosIds);
  const source = random(options.seed ?? 0);
  const capacity = prompt.length + tokens;
  const width = model.architecture.kvHeads * model.architecture.dHead;
  const allocate = (): Past[number] => ({
    keys: model.backend.allocate(capacity * width),
    values: model.backend.allocate(capacity * width),
  });
  const past: Past = model.architecture.layers.map(allocate);

  const all = [...prompt];
  const ids: number[] = [];
  const logprobs: number[] = [];
  for (let done = 0; done < tokens; ) {
    const residual = await step(model, {
      ids: all,
      done: model.architecture.causal ? done && all.length - 1 : 0,
      past,
      options,
      prompt: prompt.length,
    });
    const { logits } = await unembed(model, residual, { logits: true });
    const { id, logprob } = choose(logits as FloatArray, { temperature, topK, uniform: source.uniform });
    ids.push(id);
    logprobs.push(logprob);
    all.push(id);
    done += 1;
    options.onToken?.(id);
    if (stop.has(id)) break;
  }
  return { ids, logprobs };
}

interface Step {
  readonly ids: readonly number[];
  /** Positions whose keys and values are known. */
  readonly done: number;
  readonly past: Past;
  readonly options: GenerateOptions;
  readonly prompt: number;
}

/** Runs the positions that are not done; returns the final residual stream of the last one [1, d]. */
async function step(model: Model, { ids, done, past, options, prompt }: Step): Promise<FloatArray> {
  const { architecture, definition } = model;
  const positions = range(ids.length - done, done);
  const batch = batchOf([{ positions, length: ids.length }]);
  const contexts = contextCache(architecture, model.backend.allocate);
  const width = architecture.kvHeads * architecture.dHead;
  let residual = await embed(model, Int32Array.from(ids.slice(done)), flatPositions(batch));
  for (const [index, program] of definition.blocks.entries()) {
    const kind = architecture.layers[index];
    const held = past[index];
    if (kind === undefined || held === undefined) throw new RangeError(`layer ${index}`);
    const edits = (options.edits ?? [])
      .filter((edit) => edit.layer === index)
      .map((edit) => atStep(edit, { prompt, options, positions }));
    const found = await runBlock(
      { model, index, kind, program, weights: await model.weights.get(index), contexts },
      {
        batch,
        known: new Map([["resid_pre", residual]]),
        past: { values: { rot_k: held.keys, v: held.values }, firstToken: () => 0 },
        edits: batchEdits([edits.filter((edit) => edit !== undefined)], {
          architecture,
          batch,
          runValue(edit, run) {
            const cache = options.runs?.[run];
            if (cache === undefined) throw new RangeError(`run ${run} of ${options.runs?.length ?? 0}`);
            return cache.get(edit.site, edit.layer);
          },
        }),
        want: ["rot_k", "v", "resid_post"],
      },
    );
    held.keys.set(found.get("rot_k") as FloatArray, done * width);
    held.values.set(found.get("v") as FloatArray, done * width);
    residual = found.get("resid_post") as FloatArray;
    model.weights.release(index);
  }
  return residual.slice(-architecture.dModel);
}

/** The edit as it applies to the positions of one step; undefined if it does not. */
function atStep(
  edit: Edit,
  {
    prompt,
    options,
    positions,
  }: { readonly prompt: number; readonly options: GenerateOptions; readonly positions: Int32Array },
): Edit | undefined {
  const axis = positionAxis(edit.site);
  const named = edit.where[axis];
  const wanted =
    named ?? [...positions].filter((position) => position < prompt || options.editOn === "every-step");
  const held = wanted.filter((position) => axis === "src" || positions.includes(position));
  return held.length === 0 ? undefined : { ...edit, where: { ...edit.where, [axis]: held } };
}

/** Picks a token; the log-probability is that of the unscaled distribution. */
function choose(
  logits: FloatArray,
  {
    temperature,
    topK,
    uniform,
  }: { readonly temperature: number; readonly topK: number; readonly uniform: () => number },
): { readonly id: number; readonly logprob: number } {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if ((logits[id] ?? 0) > (logits[best] ?? 0)) best = id;
  const top = logits[best] ?? 0;
  let total = 0;
  for (const logit of logits) total += Math.exp(logit - top);
  const logprobOf = (id: number): number => (logits[id] ?? 0) - top - Math.log(total);
  if (temperature === 0) return { id: best, logprob: logprobOf(best) };

  const ranked = [...logits.keys()].sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0)).slice(0, topK);
  const weights = ranked.map((id) => Math.exp(((logits[id] ?? 0) - top) / temperature));
  let left = uniform() * weights.reduce((sum, weight) => sum + weight, 0);
  for (const [index, id] of ranked.entries()) {
    left -= weights[index] ?? 0;
    if (left < 0) return { id, logprob: logprobOf(id) };
  }
  const id = ranked.at(-1) ?? best;
  return { id, logprob: logprobOf(id) };
}
