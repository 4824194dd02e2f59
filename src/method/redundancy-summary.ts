/** @file What is said of changed layers: the variables of a text, their units and words, verdicts. */

import type { Json, Variable } from "../result/result.ts";
import type { Sample } from "./mean-over.ts";
import type { ChangedText } from "./redundancy-values.ts";

/** Effects on the loss below this many nats count as none in the verdict: a twentieth of a bit, and more than rounding. */
export const SMALL_NATS = 0.05;

/** Every variable of one text. */
export function sampleOf({ loss, changed, influence }: ChangedText): Sample {
  const dimsOf: Readonly<Record<string, readonly string[]>> = {
    delete_block: ["blocks", "layer"],
    reverse_middle: [],
  };
  const sample: Record<string, Sample[string]> = {};
  for (const [name, table] of Object.entries(changed)) {
    const dims = dimsOf[name] ?? ["layer"];
    sample[name] = { dims, data: table.loss };
    sample[`${name}_effect`] = { dims, data: table.loss.map((value) => value - loss) };
    sample[`${name}_agreement`] = { dims, data: table.agreement };
    sample[`${name}_kl`] = { dims, data: table.kl };
  }
  sample.block_influence = { dims: ["layer"], data: influence };
  return sample;
}

/** What a variable is besides a loss, by the end of its name. */
const aspects: readonly {
  readonly of: RegExp;
  readonly words: string;
  readonly attrs: Readonly<Record<string, Json>>;
}[] = [
  {
    of: /_effect$/,
    words: "loss beyond the unedited model's on the same text, mean over texts",
    attrs: { quantity: "effect" },
  },
  {
    of: /_agreement$/,
    words: "share of positions with the same most probable token",
    attrs: { unit: "1", detail: true },
  },
  { of: /_kl$/, words: "KL(unedited ‖ edited), mean over positions", attrs: { detail: true } },
  {
    of: /^block_influence$/,
    words: "1 − cosine between input and output",
    attrs: { unit: "1", quantity: "influence" },
  },
];

/** Units and words of a variable; what goes along with another is its detail. Bounds of intervals keep their words. */
export function described(name: string, { dims, data, attrs }: Variable): Variable {
  const [own = name, bound] = name.split(/_ci_(?=low$|high$)/);
  const aspect = aspects.find(({ of }) => of.test(own));
  if (aspect === undefined) return { dims, data, attrs };
  const words = bound === undefined ? { long_name: aspect.words } : {};
  return { dims, data, attrs: { ...attrs, ...aspect.attrs, ...words } };
}

export function verdictOf(variables: Readonly<Record<string, Variable>>): Variable {
  const of = (name: string): number[] => Array.from(variables[name]?.data ?? [], Number);
  const direct = of("direct_effect");
  return {
    dims: ["layer"],
    data: of("delete_effect").map((total, layer) => verdict(total, direct[layer] ?? Number.NaN)),
    attrs: { long_name: "what total and direct effect of deletion say together" },
  };
}

/** Little lost either way: redundant. Less than half of the direct loss in the end: self-repaired. */
function verdict(total: number, direct: number): string {
  if (Math.abs(total) < SMALL_NATS && Math.abs(direct) < SMALL_NATS) return "redundant";
  return direct >= SMALL_NATS && total < direct / 2 ? "self-repaired" : "needed";
}
