/**
 * @file Generation with cached keys and values, greedy or sampled, with edits on the prompt alone or on every step.
 */

import { type Fault, refuse } from "../core/errors.ts";
import {
  atLeast,
  callback,
  ids as idsCheck,
  type OptionChecks,
  oneOf,
  optionFaults,
  required,
  seed,
  whole,
} from "../core/options.ts";
import { random } from "../core/random.ts";
import type { FloatArray } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import { range } from "../numeric/cells.ts";
import { batchEdits, requireCells } from "./apply.ts";
import { batchOf, contextCache, flatPositions } from "./batch.ts";
import { runBlock } from "./block.ts";
import type { Edit, Where } from "./edit.ts";
import { editsCheck, positionAxis } from "./edit.ts";
import { embed, unembed } from "./ends.ts";
import { type Cache, cachesCheck } from "./forward.ts";
import { SITES } from "./site.ts";
import { withLayer } from "./with-layer.ts";

/**
 * Which positions an edit stands for that names none: those of the prompt (`prefill`), or the generated ones as well
 * (`every-step`).
 */
export const editOnWords = ["prefill", "every-step"] as const;
export type EditOn = (typeof editOnWords)[number];

/** Longest continuation: the longest context in common use. */
export const MAX_GENERATED = 131_072;

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
   * `prefill` (default): edits that name no position are made at those of the prompt. `every-step`: at every generated
   * one too. Edits at named positions are made there, in either case. Keys and values as attention sees them stay
   * edited for every query that comes later, so that an edit of `keys` is one of `rot_k`.
   */
  readonly editOn?: EditOn | undefined;
  /** Runs that edits of kind `run` take values from. */
  readonly runs?: readonly Cache[] | undefined;
  readonly onToken?: ((id: number) => void) | undefined;
}

export const generateChecks: OptionChecks<GenerateOptions> = {
  tokens: required(whole(1, MAX_GENERATED)),
  temperature: atLeast(0),
  topK: whole(1),
  seed,
  stopIds: idsCheck,
  edits: editsCheck,
  editOn: oneOf(editOnWords),
  runs: cachesCheck,
  onToken: callback,
};

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
 * @throws RangeError before anything runs, for edits of what the model, or the run they take values from, does not have
 * at some position that can come to be edited.
 */
export async function generate(
  model: Model,
  prompt: readonly number[],
  options: GenerateOptions,
): Promise<Generated> {
  refuse([...optionFaults(options, generateChecks), ...promptFaults(prompt)]);
  const { temperature = 0, topK = model.architecture.vocabulary, tokens } = options;
  requireEdits(model, prompt.length, options);
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

function promptFaults(prompt: readonly number[]): readonly Fault[] {
  if (Array.isArray(prompt) && prompt.length === 0)
    return [{ where: "prompt", found: "no token", wanted: "at least one" }];
  return idsCheck(prompt, "prompt");
}

interface Step {
  readonly ids: readonly number[];
  /** Positions whose keys and values are known. */
  readonly done: number;
  readonly past: Past;
  readonly options: GenerateOptions;
  readonly prompt: number;
}

/** An edit of positions that a value lacks would come to light in the middle of the text. */
function requireEdits(
  { architecture }: Model,
  prompt: number,
  { tokens, edits = [], editOn = "prefill", runs = [] }: GenerateOptions,
): void {
  const length = lengthRun(prompt, tokens);
  for (const edit of edits) {
    const { value } = edit;
    const source = value.kind === "run" ? runs[value.run] : undefined;
    if (value.kind === "run" && source === undefined)
      throw new RangeError(`run ${value.run} of ${runs.length}`);
    const made = editAtStep(edit, { prompt, length, first: 0, editOn });
    if (made !== undefined) requireCells(made, { architecture, length, sourceLength: source?.ids.length });
  }
}

/** Tokens that go through the model in all: the last one that is generated does not. */
export function lengthRun(prompt: number, tokens: number): number {
  return prompt + Math.max(0, tokens - 1);
}

/** Runs the positions that are not done; returns the final residual stream of the last one [1, d]. */
async function step(model: Model, { ids, done, past, options, prompt }: Step): Promise<FloatArray> {
  const { architecture, definition } = model;
  const positions = range(ids.length - done, done);
  const batch = batchOf([{ positions, length: ids.length }]);
  const contexts = contextCache(architecture, model.backend.allocate);
  const width = architecture.kvHeads * architecture.dHead;
  const at: EditStep = { prompt, length: ids.length, first: done, editOn: options.editOn ?? "prefill" };
  let residual = await embed(model, Int32Array.from(ids.slice(done)), flatPositions(batch));
  for (const index of definition.blocks.keys()) {
    const held = past[index];
    if (held === undefined) throw new RangeError(`layer ${index}`);
    const edits = (options.edits ?? [])
      .filter((edit) => edit.layer === index)
      .map((edit) => editAtStep(edit, at))
      .filter((edit) => edit !== undefined);
    await withLayer(model, { index, contexts }, async (layer) => {
      const found = await runBlock(layer, {
        batch,
        known: new Map([["resid_pre", residual]]),
        past: { values: { rot_k: held.keys, v: held.values }, firstToken: () => 0 },
        edits: batchEdits([edits], {
          architecture,
          batch,
          runValue(edit, run) {
            const cache = options.runs?.[run];
            if (cache === undefined) throw new RangeError(`run ${run} of ${options.runs?.length ?? 0}`);
            return cache.get(edit.site, edit.layer);
          },
        }),
        want: ["rot_k", "v", "resid_post"],
      });
      held.keys.set(found.get("rot_k") as FloatArray, done * width);
      held.values.set(found.get("v") as FloatArray, done * width);
      residual = found.get("resid_post") as FloatArray;
    });
  }
  return residual.slice(-architecture.dModel);
}

/** What an edit meets in one step. */
export interface EditStep {
  /** Tokens of the prompt. */
  readonly prompt: number;
  /** Tokens so far. */
  readonly length: number;
  /** First position that is computed: all from there on are. */
  readonly first: number;
  readonly editOn: EditOn;
}

/**
 * The edit as one step makes it, with its positions named; undefined where it has none there. A step that computes all
 * of the longest text has the positions of all steps.
 */
export function editAtStep(edit: Edit, { prompt, length, first, editOn }: EditStep): Edit | undefined {
  const { axes } = SITES[edit.site];
  const along = positionAxis(edit.site);
  const unnamed = editOn === "every-step" ? length : prompt;
  // Keys and values come back from the cache as they were before an edit of what attention sees of them: it is made
  // again for the queries of every step.
  const from = along === "src" ? 0 : first;
  const held = (edit.where[along] ?? [...range(unnamed)]).filter(
    (position) => position >= from && position < length,
  );
  let where: Where = { ...edit.where, [along]: held };
  if (axes.includes("dst") && axes.includes("src")) {
    // A query's row of attention is made once, with the keys that there are by then.
    const keys = held.reduce((most, position) => Math.max(most, position + 1), prompt);
    where = { ...where, src: (where.src ?? [...range(keys)]).filter((position) => position < length) };
  }
  return held.length === 0 || where.src?.length === 0 ? undefined : { ...edit, where };
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
