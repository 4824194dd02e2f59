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

/** Units and words of a variable; what goes along with another is its detail. */
export function described(name: string, { dims, data, attrs }: Variable): Variable {
  const words: Record<string, Json> = { ...attrs };
  if (/_agreement(_|$)/.test(name)) {
    Object.assign(words, {
      unit: "1",
      detail: true,
      long_name: "share of positions with the same most probable token",
    });
  } else if (/_kl(_|$)/.test(name)) {
    Object.assign(words, { detail: true, long_name: "KL(unedited ‖ edited), mean over positions" });
  } else if (name.startsWith("block_influence")) {
    Object.assign(words, {
      unit: "1",
      quantity: "influence",
      long_name: "1 − cosine between input and output",
    });
  }
  return { dims, data, attrs: words };
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
