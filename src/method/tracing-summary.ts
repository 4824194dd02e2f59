/** @file Traced values as means: over noise samples of one fact, over facts and the roles of their positions. */

import type { Fact } from "../model/fact.ts";
import type { Model } from "../model/model.ts";
import { bootstrapMean, drawResamples, mean } from "../numeric/statistics.ts";
import type { Json, Variable } from "../result/result.ts";
import type { Sample } from "./mean-over.ts";
import { ROLES, rolePositions } from "./tracing-cells.ts";
import type { TracingSetup } from "./tracing-setup.ts";
import type { Traced } from "./tracing-values.ts";

/** One fact: a sample of the mean for every draw of noise; the two of opposite sign are one draw. */
export function bySample({ sites, samples, antithetic }: TracingSetup, found: Traced): Sample[] {
  const pairs = antithetic ? samples / 2 : samples;
  const dims = ["layer", "pos"];
  return Array.from({ length: pairs }, (_, draw) => {
    const draws = pairs === samples ? [draw] : [draw, draw + pairs];
    const base = mean(draws.map((sample) => found.noised[0]?.[sample] ?? Number.NaN));
    const entries = sites.flatMap((site, at): [string, Sample[string]][] => {
      const values = found.values[0]?.[at] ?? new Float64Array(0);
      const data = Float64Array.from({ length: values.length / samples }, (__, cell) =>
        mean(draws.map((sample) => values[cell * samples + sample] ?? Number.NaN)),
      );
      return [
        [site, { dims, data }],
        [`${site}_effect`, { dims, data: data.map((value) => value - base) }],
      ];
    });
    return Object.fromEntries(entries);
  });
}

/** Several facts: each fact's mean over noise samples and over the positions of a role. */
export function byFact(
  { architecture }: Model,
  { sites, samples, known }: TracingSetup,
  found: Traced,
): Sample[] {
  const layers = architecture.layers.length;
  const dims = ["layer", "role"];
  return known.map((fact, index) => {
    const length = fact.clean.ids.length;
    const roles = rolePositions(fact);
    const base = mean(found.noised[index] ?? []);
    const entries = sites.flatMap((site, at): [string, Sample[string]][] => {
      const values = found.values[index]?.[at] ?? new Float64Array(0);
      const data = Float64Array.from({ length: layers * roles.length }, (_, cell) => {
        const layer = Math.floor(cell / roles.length);
        const positions = roles[cell % roles.length] ?? [];
        return mean(
          positions.map((pos) => {
            const from = (layer * length + pos) * samples;
            return mean(values.subarray(from, from + samples));
          }),
        );
      });
      return [
        [site, { dims, data }],
        [`${site}_effect`, { dims, data: data.map((value) => value - base) }],
      ];
    });
    return Object.fromEntries(entries);
  });
}

/** What noise takes away, over facts. */
export function totalEffect(
  clean: Float64Array,
  corrupt: readonly number[],
  seed: number,
): Record<string, Json> {
  const effects = clean.map((value, fact) => value - (corrupt[fact] ?? Number.NaN));
  if (effects.length < 2) return { total_effect: mean(effects) };
  const { estimate, low, high } = bootstrapMean(effects, drawResamples(effects.length, { seed }));
  return { total_effect: estimate, total_effect_ci_low: low, total_effect_ci_high: high };
}

/** Tokens of one fact, roles of several. */
export function coordsOf(known: readonly Fact[]): Record<string, Variable> {
  const [fact] = known;
  if (fact === undefined || known.length > 1)
    return { role: { dims: ["role"], data: [...ROLES], attrs: {} } };
  const { clean, subject } = fact;
  return {
    token: { dims: ["pos"], data: [...clean.pieces], attrs: {} },
    is_subject: {
      dims: ["pos"],
      data: clean.ids.map((_, pos) => (subject.includes(pos) ? 1 : 0)),
      attrs: {},
    },
  };
}
