/**
 * @file Heads that step in for others: sets of heads ablated together, what each further head costs then beside what it
 * costs alone, and, round by round, those that take over.
 * Source: Wang et al. 2022 (IOI), section 3.3 (backup name movers); Mueller 2024, "Missed Causes and Ambiguous Effects"
 * (overdetermination and pre-emption).
 */

import { milliseconds } from "../core/clock.ts";
import { type Fault, refuse } from "../core/errors.ts";
import {
  bytes,
  type Check,
  callback,
  listOf,
  nested,
  type OptionChecks,
  optionFaults,
  required,
  signal,
  such,
  whole,
} from "../core/options.ts";
import type { Architecture } from "../model/architecture.ts";
import type { Prompted } from "../model/fact.ts";
import type { Model } from "../model/model.ts";
import { mean } from "../numeric/statistics.ts";
import type { Dataset, Variable } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import { sweep } from "../run/sweep.ts";
import {
  type Ablated,
  type AblationOptions,
  prepareAblation,
  REFERENCE_ADVICE,
  unitAblationChecks,
} from "./ablated-units.ts";
import { meanOver, type Sample } from "./mean-over.ts";
import { promptFaults } from "./prompt-faults.ts";
import { provenance } from "./provenance.ts";

/** A head by layer and index, written `9.6`. */
export interface HeadName {
  readonly layer: number;
  readonly head: number;
}

/** Which of them there are, {@link headFaults} tells. */
const index: Check<number> = such("a number", (given) => typeof given === "number");
export const headsCheck: Check<readonly HeadName[]> = listOf(
  nested<HeadName>({ layer: required(index), head: required(index) }),
  "heads such as { layer: 9, head: 6 }",
);

export interface BackupOptions extends AblationOptions {
  /** Heads to begin with; those that add most to the answer themselves if absent. */
  readonly first?: readonly HeadName[] | undefined;
  /** How often the heads that now cost most are ablated too, and all ranked again. Default 2. */
  readonly rounds?: number | undefined;
  /** Heads of a round. Default 3. */
  readonly perRound?: number | undefined;
  readonly stateBytes?: number | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: { readonly aborted: boolean } | undefined;
}

/** Rounds, and heads of a round: by then every head of a large model is ablated. */
export const MAX_ROUNDS = 1000;

export const backupChecks: OptionChecks<BackupOptions> = {
  ...unitAblationChecks,
  first: headsCheck,
  rounds: whole(0, MAX_ROUNDS),
  perRound: whole(1, MAX_ROUNDS),
  stateBytes: bytes,
  onProgress: callback,
  signal,
};

export const DEFAULT_ROUNDS = 2;
export const DEFAULT_PER_ROUND = 3;
/** Most heads of the matrix of pairs. */
const MAX_PAIRED = 24;

/**
 * Finds backup heads: ablates the heads that argue most for the answer, ranks all others by what they cost on top,
 * ablates the first of these as well, and so on.
 *
 * @returns a dataset of changes of the answer's logit (less the foil's), means over prompts with 95 % intervals: `single`
 * over layer and head, each ablated alone; `conditional` over round, layer and head: on top of the set so far;
 * `interaction`, the latter less the former; `set_total` over round: of the set as a whole, `set_sum` of its heads alone; over
 * `found` the heads in the order found, with `found_round` and `found_role`; `pair_interaction` over
 * found and with: interaction of two of them alone.
 * @throws InputError as {@link prepareAblation} does, and for heads that are not there or named twice.
 */
export async function backups(
  model: Model,
  prompts: readonly Prompted[],
  options: BackupOptions = {},
): Promise<Dataset> {
  const started = milliseconds();
  refuse([...optionFaults(options, backupChecks), ...promptFaults(prompts)]);
  const { rounds = DEFAULT_ROUNDS, perRound = DEFAULT_PER_ROUND, seed = 0 } = options;
  const heads = headsOf(model);
  refuse(
    heads.length === 0
      ? [{ where: "--backups", found: "a model without attention", wanted: "one with" }]
      : headFaults(options.first ?? [], { where: "--first", architecture: model.architecture }),
  );
  const ablated = await prepareAblation(model, prompts, { ...options, advice: REFERENCE_ADVICE });
  const indexOf = (name: HeadName): number =>
    heads.findIndex(({ layer, head }) => layer === name.layer && head === name.head);

  const set: Found[] = (options.first?.map(indexOf) ?? strongest(ablated, perRound)).map((head) => ({
    head,
    round: 0,
  }));
  let steps = 0;
  const measure = async (sets: readonly (readonly number[])[]): Promise<Measured> => {
    const step = steps++;
    const onProgress = (done: number, total: number): void =>
      options.onProgress?.(Math.round(1000 * (step + done / total)), 1000 * (rounds + 3));
    return changes(model, ablated, { sets, heads, options: { ...options, onProgress } });
  };
  const all = [...heads.keys()];
  const alone = await measure(all.map((head) => [head]));
  const single = alone.changes;
  const whole: Float64Array[][] = [];
  const conditional: Float64Array[][] = [];
  for (let round = 0; round <= rounds; round++) {
    const members = set.map(({ head }) => head);
    const others = all.filter((head) => !members.includes(head));
    const { changes: found } = await measure([members, ...others.map((head) => [...members, head])]);
    whole.push(ablated.prompts.map((_, prompt) => Float64Array.of(found[prompt]?.[0] ?? Number.NaN)));
    const own = found.map((row) => {
      const cells = new Float64Array(heads.length).fill(Number.NaN);
      for (const [at, head] of others.entries()) cells[head] = (row[at + 1] ?? Number.NaN) - (row[0] ?? 0);
      return cells;
    });
    conditional.push(own);
    if (round === rounds) break;
    const cost = (head: number): number => mean(own.map((row) => row[head] ?? Number.NaN));
    const ranked = [...others].sort((a, b) => cost(a) - cost(b)).slice(0, perRound);
    set.push(...ranked.filter((head) => cost(head) < 0).map((head) => ({ head, round: round + 1 })));
  }
  const paired = set.slice(0, MAX_PAIRED).map(({ head }) => head);
  const couples = paired.flatMap((a, at) => paired.slice(at + 1).map((b): [number, number] => [a, b]));
  const { changes: together } = await measure(couples);

  const samples = ablated.prompts.map((_, prompt): Sample => {
    const alones = single[prompt] ?? new Float64Array(0);
    const stacked = (rows: readonly Float64Array[][]): Float64Array =>
      Float64Array.from(rows.flatMap((row) => [...(row[prompt] ?? [])]));
    const given = stacked(conditional);
    const pair = new Float64Array(paired.length ** 2).fill(Number.NaN);
    for (const [at, [a, b]] of couples.entries()) {
      const value = (together[prompt]?.[at] ?? Number.NaN) - (alones[a] ?? 0) - (alones[b] ?? 0);
      const [i, j] = [paired.indexOf(a), paired.indexOf(b)];
      pair[i * paired.length + j] = value;
      pair[j * paired.length + i] = value;
    }
    const sums = Float64Array.from({ length: rounds + 1 }, (_unused, round) =>
      set.filter((found) => found.round <= round).reduce((sum, { head }) => sum + (alones[head] ?? 0), 0),
    );
    return {
      single: { dims: ["layer", "head"], data: alones },
      conditional: { dims: ["round", "layer", "head"], data: given },
      interaction: {
        dims: ["round", "layer", "head"],
        data: given.map((value, cell) => value - (alones[cell % heads.length] ?? 0)),
      },
      set_total: { dims: ["round"], data: stacked(whole) },
      set_sum: { dims: ["round"], data: sums },
      ...(couples.length === 0 ? {} : { pair_interaction: { dims: ["found", "with"], data: pair } }),
    };
  });
  const summary = meanOver(samples, { unit: "logit", quantity: "effect", perSample: false, seed });
  const found = set.map(({ head, round }) => ({ ...(heads[head] as HeadName), round }));
  const words = (name: string): Variable => {
    const variable = summary.dataVars[name] as Variable;
    const shown = ["single", "interaction", "pair_interaction"].includes(name);
    return { ...variable, attrs: { ...variable.attrs, ...(shown ? {} : { detail: true }) } };
  };
  const list = (data: readonly (number | string)[]): Variable => ({
    dims: ["found"],
    data: data as Variable["data"],
    attrs: { detail: true },
  });
  return dataset({
    attrs: {
      method: "hydra",
      metric: ablated.prompts.some(({ foils }) => foils.length > 0)
        ? "logit_diff"
        : ablated.centred
          ? "centred_logit"
          : "logit",
      unit: "logit",
      direction: "noise",
      baseline_clean: mean(alone.clean),
      question: "Which heads step in when those that carry the answer are ablated?",
      position: "last",
      found: found.map(({ layer, head }) => `${layer}.${head}`),
      options: {
        ablate: ablated.ablation.kind,
        ...(ablated.ablation.kind === "resample" ? { draws: ablated.ablation.draws } : {}),
        references: options.references?.length ?? null,
        backups: true,
        rounds,
        per_round: perRound,
        first: options.first?.map(({ layer, head }) => `${layer}.${head}`) ?? null,
        seed,
      },
      ...summary.attrs,
      ...(await provenance(model, ablated.prompts)),
      seconds: (milliseconds() - started) / 1000,
    },
    dims: {
      layer: model.architecture.layers.length,
      head: model.architecture.heads,
      round: rounds + 1,
      found: found.length,
      ...(couples.length === 0 ? {} : { with: paired.length }),
    },
    coords: {
      found: {
        dims: ["found"],
        data: found.map(({ layer, head }) => `${layer}.${head}`),
        attrs: {},
      },
      ...(couples.length === 0
        ? {}
        : {
            with: {
              dims: ["with"],
              data: paired.map((head) => `${heads[head]?.layer}.${heads[head]?.head}`),
              attrs: {},
            },
          }),
    },
    dataVars: {
      ...Object.fromEntries(Object.keys(summary.dataVars).map((name) => [name, words(name)])),
      found_round: list(found.map(({ round }) => round)),
      found_role: list(set.map((entry) => roleOf({ single, conditional, ...entry }))),
    },
  });
}

interface Found {
  readonly head: number;
  /** 0: there from the beginning. */
  readonly round: number;
}

/** A backup costs less than half as much alone as on top of the set that it was found with. */
function roleOf({
  single,
  conditional,
  head,
  round,
}: {
  readonly single: readonly Float64Array[];
  readonly conditional: readonly (readonly Float64Array[])[];
  readonly head: number;
  readonly round: number;
}): string {
  if (round === 0) return "primary";
  const over = (rows: readonly Float64Array[]): number => mean(rows.map((row) => row[head] ?? Number.NaN));
  return over(single) > over(conditional[round - 1] ?? []) / 2 ? "backup" : "independent";
}

function headsOf({ definition, architecture }: Model): HeadName[] {
  if (!definition.blocks[0]?.sites.has("z")) return [];
  return [...definition.blocks.keys()].flatMap((layer) =>
    Array.from({ length: architecture.heads }, (_, head) => ({ layer, head })),
  );
}

/** What is wrong with heads that a caller names: some are not there, or named twice. `where` is the option. */
export function headFaults(
  named: readonly HeadName[],
  { where, architecture }: { readonly where: string; readonly architecture: Architecture },
): Fault[] {
  const { layers, heads } = architecture;
  const nameOf = ({ layer, head }: HeadName): string => `${layer}.${head}`;
  const isThere = (index: number, size: number): boolean =>
    Number.isInteger(index) && index >= 0 && index < size;
  const outside = named
    .filter(({ layer, head }) => !isThere(layer, layers.length) || !isThere(head, heads))
    .map(nameOf);
  const names = named.map(nameOf);
  const repeated = names.filter((name, at) => names.indexOf(name) !== at);
  const wanted = `layers 0 to ${layers.length - 1} with heads 0 to ${heads - 1}`;
  return [
    ...(outside.length === 0 ? [] : [{ where, found: outside.join(", "), wanted }]),
    ...(repeated.length === 0
      ? []
      : [{ where, found: `${repeated.join(", ")} again`, wanted: "each head once" }]),
  ];
}

/** Heads with the largest mean share of the answer's logit: whether or not anything makes up for them. */
function strongest({ shares }: Ablated, count: number): number[] {
  const size = shares[0]?.head.length ?? 0;
  const each = Array.from({ length: size }, (_, head) => mean(shares.map((own) => own.head[head] ?? 0)));
  return [...each.keys()].sort((a, b) => (each[b] ?? 0) - (each[a] ?? 0)).slice(0, count);
}

/** Of each prompt, the change of its sum of logits with each set ablated. */
interface Measured {
  readonly changes: readonly Float64Array[];
  readonly clean: readonly number[];
}

async function changes(
  model: Model,
  ablated: Ablated,
  {
    sets,
    heads,
    options,
  }: {
    readonly sets: readonly (readonly number[])[];
    readonly heads: readonly HeadName[];
    readonly options: Pick<BackupOptions, "stateBytes" | "signal" | "onProgress">;
  },
): Promise<Measured> {
  const starts = [0];
  for (const draws of ablated.draws) starts.push((starts.at(-1) ?? 0) + draws * sets.length);
  const placeOf = (index: number) => {
    const prompt = starts.findLastIndex((start) => start <= index);
    const rest = index - (starts[prompt] ?? 0);
    return { prompt, draw: Math.floor(rest / sets.length), set: rest % sets.length };
  };
  const found = ablated.prompts.map(() => new Float64Array(sets.length));
  const clean: number[] = [];
  await sweep(
    model,
    {
      runs: ablated.runs,
      count: starts.at(-1) ?? 0,
      variant(index) {
        const { prompt, draw, set } = placeOf(index);
        const members = sets[set] ?? [];
        const edits = members.map((head) =>
          ablated.edit({ kind: "head", ...(heads[head] as HeadName) }, { prompt, draw }),
        );
        return { run: prompt, edits };
      },
    },
    {
      ...(options.stateBytes === undefined ? {} : { stateBytes: options.stateBytes }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      ...(options.onProgress === undefined ? {} : { onProgress: options.onProgress }),
      onRun(run, reading) {
        clean[run] = ablated.metric(run, reading);
      },
      onReading(index, reading, exact) {
        if (exact) return;
        const { prompt, set } = placeOf(index);
        const change = ablated.metric(prompt, reading) - (clean[prompt] ?? Number.NaN);
        const row = found[prompt] as Float64Array;
        row[set] = (row[set] ?? 0) + change / (ablated.draws[prompt] ?? 1);
      },
    },
  );
  return { changes: found, clean };
}
