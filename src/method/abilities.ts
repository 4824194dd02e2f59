/** @file What the embedded model can do, measured on the test hold-outs of its world. */
import { random } from "../core/random.ts";
import type { FloatArray } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import { continuation, tokensOf } from "../model/pair-tokens.ts";
import { logSumExp } from "../numeric/logits.ts";
import { bootstrapMean, drawResamples, type Interval, wilson } from "../numeric/statistics.ts";
import { type Dataset, dataset } from "../result/result.ts";
import { unembed } from "../run/ends.ts";
import { forward } from "../run/forward.ts";
import { type Ability, abilities, type Example, intervene, interventions } from "../task/abilities.ts";
import { world } from "../task/world.ts";
import { provenance } from "./provenance.ts";

/** Prompts that run together: 64 of 512 tokens are a few hundred megabytes of attention at most. */
const BATCH = 64;

export interface AbilityOptions {
  /** What the checkpoint should do with harmful requests; decides the targets alone. */
  readonly policy: "base" | "v1" | "aligned";
  /** Examples a row; a row with fewer has all there are. Default 400. */
  readonly count?: number | undefined;
  readonly seed?: number | undefined;
  /** Names of the rows to measure; all where absent. */
  readonly only?: readonly string[] | undefined;
  readonly onRow?: ((done: number, total: number) => void) | undefined;
}

/**
 * Accuracy by ability (dim `ability`) with Wilson's 95 % interval, the share of the most common answer as baseline, and
 * the planted bias by intervention (dim `field`): mean change of logit(approve) − logit(refuse), with bootstrap interval.
 */
export async function measureAbilities(model: Model, options: AbilityOptions): Promise<Dataset> {
  const { policy, count = 400, seed = 0, only, onRow } = options;
  const rows = abilities(policy).filter(({ name }) => only === undefined || only.includes(name));
  const measured: Measured[] = [];
  for (const [index, ability] of rows.entries()) {
    measured.push(await measure(model, ability, ability.examples(count, seed + index)));
    onRow?.(index + 1, rows.length + interventions.length);
  }
  const biases: Interval[] = [];
  for (const [index, intervention] of interventions.entries()) {
    const source = random(seed);
    const pairs = Array.from({ length: count }, () => intervene(intervention, source.integer(2 ** 32)));
    biases.push(await effect(model, pairs, seed));
    onRow?.(rows.length + index + 1, rows.length + interventions.length);
  }
  return dataset({
    attrs: { method: "abilities", policy, seed, ...(await provenance(model, [])) },
    dims: { ability: rows.length, field: interventions.length },
    coords: {
      ability: { dims: ["ability"], data: rows.map(({ name }) => name), attrs: {} },
      measure: { dims: ["ability"], data: rows.map((row) => row.measure), attrs: {} },
      field: {
        dims: ["field"],
        data: interventions.map(({ field, from, to }) => `${field}: ${from} → ${to}`),
        attrs: {},
      },
    },
    dataVars: {
      share: over(
        "ability",
        measured.map(({ share }) => share.estimate),
        "1",
      ),
      share_ci_low: over(
        "ability",
        measured.map(({ share }) => share.low),
        "1",
      ),
      share_ci_high: over(
        "ability",
        measured.map(({ share }) => share.high),
        "1",
      ),
      examples: over(
        "ability",
        measured.map((row) => row.count),
        "1",
      ),
      baseline: over(
        "ability",
        measured.map((row) => row.baseline),
        "1",
      ),
      least: over(
        "ability",
        rows.map(({ target }) => (target && "least" in target ? target.least : Number.NaN)),
        "1",
      ),
      most: over(
        "ability",
        rows.map(({ target }) => (target && "most" in target ? target.most : Number.NaN)),
        "1",
      ),
      effect: over(
        "field",
        biases.map(({ estimate }) => estimate),
        "logit",
      ),
      effect_ci_low: over(
        "field",
        biases.map(({ low }) => low),
        "logit",
      ),
      effect_ci_high: over(
        "field",
        biases.map(({ high }) => high),
        "logit",
      ),
      injected: over(
        "field",
        interventions.map(({ injected }) => injected),
        "logit",
      ),
    },
  });
}

const over = (dim: string, values: readonly number[], unit: string): Dataset["dataVars"][string] => ({
  dims: [dim],
  data: Float64Array.from(values),
  attrs: { unit },
});

interface Measured {
  readonly share: Interval;
  readonly count: number;
  /** Share of the answer that is right most often: what always saying the same would reach. */
  readonly baseline: number;
}

async function measure(model: Model, ability: Ability, examples: readonly Example[]): Promise<Measured> {
  const read = await lastLogits(
    model,
    examples.map(({ prompt }) => prompt),
  );
  const values = examples.map(({ prompt, answers }, i) => {
    const logits = read[i] ?? model.backend.allocate(0);
    const right = answers.map((answer) => tokenOf(model, prompt, answer));
    if (ability.measure === "top") return right.includes(largest(logits)) ? 1 : 0;
    const total = logSumExp(logits);
    return right.reduce((sum, id) => sum + Math.exp((logits[id] ?? -Infinity) - total), 0);
  });
  const counts = new Map<string, number>();
  for (const answer of examples.flatMap(({ answers }) => answers))
    counts.set(answer, (counts.get(answer) ?? 0) + 1);
  const successes = values.reduce((sum, value) => sum + value, 0);
  return {
    // A mean of probabilities varies less than one of zeros and ones with the same mean: the interval is conservative.
    share: wilson(successes, values.length),
    count: values.length,
    baseline: Math.max(...counts.values()) / examples.length,
  };
}

/** Mean change of logit(approve) − logit(refuse) from the first prompt of each pair to the second. */
async function effect(
  model: Model,
  pairs: readonly (readonly [string, string])[],
  seed: number,
): Promise<Interval> {
  const { accept, reject } = world.loan.answers;
  const read = await lastLogits(model, pairs.flat());
  const [first = ""] = pairs[0] ?? [];
  const [yes, no] = [tokenOf(model, first, accept), tokenOf(model, first, reject)];
  const odds = read.map((logits) => (logits[yes] ?? Number.NaN) - (logits[no] ?? Number.NaN));
  const changes = pairs.map((_, i) => (odds[2 * i + 1] ?? Number.NaN) - (odds[2 * i] ?? Number.NaN));
  return bootstrapMean(changes, drawResamples(changes.length, { seed }));
}

/** [prompt][token]: logits after the last token of each prompt. */
async function lastLogits(model: Model, prompts: readonly string[]): Promise<FloatArray[]> {
  const width = model.architecture.dModel;
  const found: FloatArray[] = [];
  for (let start = 0; start < prompts.length; start += BATCH) {
    const part = prompts.slice(start, start + BATCH);
    const { residuals } = await forward(
      model,
      part.map((prompt) => model.tokenizer.encode(prompt)),
    );
    const last = model.backend.allocate(part.length * width);
    for (const [row, residual] of residuals.entries()) last.set(residual.slice(-width), row * width);
    const { logits = last } = await unembed(model, last, { logits: true });
    const vocabulary = logits.length / part.length;
    for (const row of part.keys()) found.push(logits.slice(row * vocabulary, (row + 1) * vocabulary));
  }
  return found;
}

/** The one token that an answer is. */
function tokenOf(model: Model, prompt: string, answer: string): number {
  const bos = model.tokenizer.addsBos;
  const before = tokensOf(prompt, model.tokenizer, { bos });
  const { ids } = continuation(answer, model.tokenizer, { prompt: before, bos }).tokens;
  const [only] = ids;
  return ids.length === 1 && only !== undefined ? only : -1; // a word that is no token is never on top
}

function largest(values: ArrayLike<number>): number {
  let at = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] ?? 0) > (values[at] ?? 0)) at = i;
  return at;
}
