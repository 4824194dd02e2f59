/** @file A result in plain words: the question it answers, its baselines, units and numbers. */
import { baseline, baselineInterval, baseRun, sites } from "./cells.ts";
import type { Dataset, Json } from "./result.ts";

export const metricWords: Readonly<Record<string, string>> = {
  logit_diff: "logit difference",
  logprob: "log-probability of the answer",
  prob: "probability of the answer",
  kl: "KL(clean ‖ edited)",
  kl_reverse: "KL(edited ‖ clean)",
  loss: "loss",
  logit: "logit of the answer",
  centred_logit: "centred logit of the answer",
};

const dimWords: Readonly<Record<string, string>> = {
  pos: "position",
  kv_head: "key-value head",
  src: "source position",
  dst: "destination position",
};

/** `pos` → `position`; names without a word of their own stay as they are. */
export function dimWord(dim: string): string {
  return dimWords[dim] ?? dim.replaceAll("_", " ");
}

/** The metric in words, e.g. `logit difference`. */
export function metricWord(dataset: Dataset): string {
  const { metric } = dataset.attrs;
  return typeof metric === "string" ? (metricWords[metric] ?? metric.replaceAll("_", " ")) : "value";
}

/** What a variable's effects are: those of interventions, or estimates of them. */
export type EffectWord = "effect" | "estimate";

export function effectWord(dataset: Dataset, variable: string): EffectWord {
  return dataset.dataVars[variable]?.attrs.quantity === "estimate" ? "estimate" : "effect";
}

/** `effect on logit difference (logit)`, estimated ones said to be. */
export function effectOnMetric(dataset: Dataset, variable: string): string {
  const unit = unitOf(dataset, variable);
  const estimated = effectWord(dataset, variable) === "estimate" ? "estimated " : "";
  return `${estimated}effect on ${metricWord(dataset)}${unit === "" ? "" : ` (${unit})`}`;
}

/** The unit of a variable, or of the metric; empty for pure numbers. */
export function unitOf(dataset: Dataset, variable?: string): string {
  const own = variable === undefined ? undefined : dataset.dataVars[variable]?.attrs.unit;
  const unit = own ?? dataset.attrs.unit;
  return typeof unit === "string" && unit !== "1" ? unit : "";
}

/**
 * In the shortest plain form: four significant digits, `6.12`, `-0.0313`; whole numbers from 1,000 on; three digits with
 * an exponent below 0.0001 and from a million on, `2.1e-5`.
 */
export function formatNumber(value: number): string {
  if (Number.isNaN(value)) return "not computed";
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const size = Math.abs(value);
  if (size < 1e-4 || size >= 1e6)
    return value
      .toExponential(2)
      .replace(/\.?0+e/, "e")
      .replace("e+", "e");
  return size >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(4)));
}

/** As {@link formatNumber}, with `+` before a gain: for differences. */
export function formatSigned(value: number): string {
  return value > 0 ? `+${formatNumber(value)}` : formatNumber(value);
}

/** The two baselines with their unit, e.g. `clean 6.12 · corrupt -5.485 · logit difference (logit)`. */
export function baselinesLine(dataset: Dataset): string {
  const runs = (["clean", "corrupt"] as const).flatMap((run) => {
    const value = baseline(dataset, run);
    const interval = baselineInterval(dataset, run)?.map(formatNumber).join(" to ");
    const between = interval === undefined ? "" : ` (95 %: ${interval})`;
    return value === undefined ? [] : [`${run} ${formatNumber(value)}${between}`];
  });
  const unit = unitOf(dataset);
  if (runs.length === 0) return "";
  return [...runs, metricWord(dataset) + (unit === "" ? "" : ` (${unit})`)].join(" · ");
}

/** Method, model and prompts: `activation-patching · pocket · 20 pairs of task ioi`; what the result does not say is left out. */
export function subjectLine({ attrs }: Dataset): string {
  const { method, options } = attrs;
  const name = entry(attrs.model, "name");
  const list = entry(attrs.prompts, "pairs");
  const [task, count] = [entry(options, "task"), Array.isArray(list) ? list.length : 0];
  const isPair = Array.isArray(list) && entry(list[0], "corrupt") !== undefined;
  const what = `${isPair ? "pair" : "prompt"}${count === 1 ? "" : "s"}`;
  return [
    ...(typeof method === "string" ? [method] : []),
    ...(typeof name === "string" ? [name] : []),
    ...(count === 0 ? [] : [`${count} ${what}${typeof task === "string" ? ` of task ${task}` : ""}`]),
  ].join(" · ");
}

/** A text of `attrs.prompts`, e.g. `clean`; undefined where the result is about several pairs or has none. */
export function promptText(dataset: Dataset, key: string): string | undefined {
  const value = entry(dataset.attrs.prompts, key);
  return typeof value === "string" ? value : undefined;
}

/** What an object holds under a key; undefined where it is none or holds nothing there. */
function entry(whole: Json | undefined, key: string): Json | undefined {
  return whole !== null && typeof whole === "object" && !Array.isArray(whole)
    ? (whole as { readonly [key: string]: Json })[key]
    : undefined;
}

/** What activation patching did to each cell and what that does to the outcome, e.g. `set to zero, loses`. */
function patchingWords({ attrs }: Dataset): string {
  const noised = attrs.direction === "noise";
  const outcome = noised ? "loses" : "brings back";
  const put = putIn(entry(attrs.options, "ablate"));
  if (put === undefined)
    return `${noised ? "taken from the corrupt run" : "restored from the clean run"}, ${outcome}`;
  return `${put}${noised ? "" : " in the corrupt run"}, ${outcome}`;
}

/** What an ablation puts in, in words; undefined for the other run's values. */
function putIn(ablate: Json | undefined): string | undefined {
  switch (entry(ablate, "kind")) {
    case "zero":
      return "set to zero";
    case "mean":
      return `set to its mean over prompts${entry(ablate, "over") === "all" ? " and positions" : ""}`;
    case "resample":
      return "taken from other prompts";
    default:
      return undefined;
  }
}

/** The question that a result answers: `attrs.question` where given, else made from its method, sites and dims. */
export function question(dataset: Dataset): string {
  const { question: given, method } = dataset.attrs;
  if (typeof given === "string" && given !== "") return given;
  const names = sites(dataset);
  const dims = [...new Set(names.flatMap((name) => dataset.dataVars[name]?.dims ?? []))].filter(
    (dim) => dim !== "pair",
  );
  const place =
    dims
      .map(dimWord)
      .join(", ")
      .replace(/, ([^,]*)$/, " and $1") || "part";
  const what = names.slice(0, 3).join(", ") + (names.length > 3 ? ", …" : "");
  const answer = promptText(dataset, "answer");
  const foil = promptText(dataset, "foil");
  const outcome =
    answer === undefined
      ? `the ${metricWord(dataset)}`
      : `“${answer.trim()}”${foil === undefined ? "" : ` over “${foil.trim()}”`}`;
  switch (method) {
    case "activation-patching":
      return `Which ${place}, ${patchingWords(dataset)} ${outcome}? (${what})`;
    case "causal-tracing":
      return `Which ${place}, restored after noise on the subject, brings back ${outcome}? (${what})`;
    case "edge-attribution":
    case "exact-edges":
      return `Which edges between nodes carry ${outcome}?`;
    case "run":
      return "Which token comes next?";
    default:
      return `How much does each ${place} matter for ${outcome}? (${typeof method === "string" ? `${method}: ` : ""}${what})`;
  }
}

/** Of a traced module, how many layers are restored together, where it is more than one: `, windows of 10 layers`. */
export function windowWords({ attrs }: Dataset, site: string): string {
  const window = attrs.method === "causal-tracing" ? entry(attrs.options, "window") : undefined;
  const isSingle = typeof window !== "number" || window === 1 || site.startsWith("resid");
  return isSingle ? "" : `, windows of ${window} layers`;
}

/** What "no effect" means here: `0 = as the corrupt run`. */
export function noEffectWords(dataset: Dataset): string {
  return baseline(dataset, baseRun(dataset)) === undefined
    ? "0 = no effect"
    : `0 = no effect (${baseRun(dataset)} run)`;
}
