/**
 * @file Statistics over prompts of what `hydra` measures: regressions of compensation on share, the split of self-repair
 * on the prompts where a unit argues most, and MLPs that take back what earlier parts have written.
 */

import { bootstrapOf, fitLine } from "../numeric/regression.ts";
import { bootstrapMean, bootstrapRatio, drawResamples, mean, pearson } from "../numeric/statistics.ts";
import type { Variable } from "../result/result.ts";
import type { Ablated, Unit } from "./ablated-units.ts";
import { type Effects, firstReached, type Table } from "./hydra-effects.ts";

/** Resamples of slopes and correlations: their 2.5 % quantile rests on 12 of them. */
const RESAMPLES = 500;
/** Self-repair below this many logits has no parts to speak of. */
const NO_REPAIR = 1e-6;

/**
 * Compensation regressed on clean share over prompts, unit by unit (McGrath et al. 2023, figure 5): a slope of 1 with an
 * R² of 1 is perfect compensation whatever the unit argued.
 */
export function regressions(kind: string, tables: readonly Table[], seed: number): Record<string, Variable> {
  const [first] = tables;
  if (first === undefined || tables.length < 3) return {};
  const resamples = drawResamples(tables.length, { seed, resamples: RESAMPLES });
  const names = ["slope", "slope_ci_low", "slope_ci_high", "intercept", "r2"] as const;
  const columns = Object.fromEntries(names.map((name) => [name, new Float64Array(first.share.length)]));
  for (let unit = 0; unit < first.share.length; unit++) {
    const x = Float64Array.from(tables, ({ share }) => share[unit] ?? Number.NaN);
    const y = Float64Array.from(tables, ({ compensation }) => compensation[unit] ?? Number.NaN);
    const line = fitLine(x, y);
    const { low, high } = bootstrapOf({ x, y }, resamples, (a, b) => fitLine(a, b).slope);
    const found = { ...line, slope_ci_low: low, slope_ci_high: high };
    for (const name of names) columns[name]?.set([found[name]], unit);
  }
  return Object.fromEntries(
    names.map((name) => [
      `${kind}_${name}`,
      {
        dims: first.dims,
        data: columns[name] ?? new Float64Array(0),
        attrs: { unit: name === "intercept" ? "logit" : "1", detail: true, ...longName(name) },
      },
    ]),
  );
}

function longName(name: string): { readonly long_name: string } {
  const words: Readonly<Record<string, string>> = {
    slope: "slope of compensation on share, over prompts",
    intercept: "intercept of that line",
    r2: "R² of that line",
  };
  return { long_name: words[name] ?? "95 % bootstrap interval over prompts of the slope" };
}

/**
 * The split of self-repair (total less direct) on the prompts with the largest share, each part as a share of it cut off
 * at 0 and 1 (Rushing & Nanda 2024, section 3).
 */
export function breakdown(kind: string, tables: readonly Table[], percent: number): Record<string, Variable> {
  const [first] = tables;
  if (first === undefined) return {};
  const count = Math.max(1, Math.ceil((percent / 100) * tables.length));
  const size = first.share.length;
  const columns = {
    share: new Float64Array(size),
    direct: new Float64Array(size),
    total: new Float64Array(size),
    attn: new Float64Array(size),
    mlp: new Float64Array(size),
    norm: new Float64Array(size),
  };
  for (let unit = 0; unit < size; unit++) {
    const top = [...tables].sort((a, b) => (b.share[unit] ?? 0) - (a.share[unit] ?? 0)).slice(0, count);
    const of = (column: "share" | "direct" | "total"): number =>
      mean(top.map((table) => table[column][unit] ?? Number.NaN));
    const part = (column: "by_attn" | "by_mlp" | "norm"): number =>
      mean(
        top.flatMap((table) => {
          const repair = (table.total[unit] ?? 0) - (table.direct[unit] ?? 0);
          if (Math.abs(repair) < NO_REPAIR) return [];
          return [Math.max(0, Math.min(1, (table[column][unit] ?? 0) / repair))];
        }),
      );
    columns.share[unit] = of("share");
    columns.direct[unit] = of("direct");
    columns.total[unit] = of("total");
    columns.attn[unit] = part("by_attn");
    columns.mlp[unit] = part("by_mlp");
    columns.norm[unit] = part("norm");
  }
  const isPart = (name: string): boolean => name === "attn" || name === "mlp" || name === "norm";
  return Object.fromEntries(
    Object.entries(columns).map(([name, data]) => [
      `${kind}_top_${name}`,
      {
        dims: first.dims,
        data,
        attrs: {
          unit: isPart(name) ? "1" : "logit",
          detail: true,
          prompts: count,
          long_name: isPart(name)
            ? `share of self-repair, cut off at 0 and 1, on the ${count} prompts with the largest share`
            : `mean over the ${count} prompts with the largest share`,
        },
      },
    ]),
  );
}

interface ErasurePart {
  readonly ablated: Ablated;
  readonly effects: readonly Effects[];
  readonly units: readonly Unit[];
  readonly layers: number;
  readonly seed: number;
}

/**
 * MLPs that erase: they argue against the answer the more, the more earlier parts argue for it, and give back when one of
 * those is ablated. `erasure_correlation` is that of the MLP's share with the sum of earlier shares, over prompts;
 * `erasure_release` the least-squares factor from what an ablated earlier layer no longer adds to what the MLP then adds
 * more. An MLP is called an eraser where share and correlation are negative and release is positive, each beyond its
 * interval (McGrath et al. 2023, section 4).
 */
export function erasure({ ablated, effects, units, layers, seed }: ErasurePart): Record<string, Variable> {
  const prompts = effects.length;
  const resamples = drawResamples(prompts, { seed, resamples: RESAMPLES });
  const rows = [...Array(layers).keys()].map((layer) => {
    const own = ablated.shares.map(({ mlp }) => mlp[layer] ?? 0);
    const before = ablated.shares.map(({ attn, mlp }) => {
      const attention = attn.slice(0, ablated.parallel ? layer : layer + 1);
      return [...attention, ...mlp.slice(0, layer)].reduce((sum, value) => sum + value, 0);
    });
    const share = bootstrapMean(own, resamples);
    const correlation = bootstrapOf({ x: before, y: own }, resamples, pearson);
    const given = released({ ablated, effects, units, layer, layers });
    const release = bootstrapRatio(given, resamples);
    return { share, correlation, release };
  });
  const variable = (
    name: "correlation" | "release",
    side: "estimate" | "low" | "high",
    long_name: string,
  ): Variable => ({
    dims: ["layer"],
    data: Float64Array.from(rows, (row) => row[name][side]),
    attrs: { unit: "1", detail: true, long_name },
  });
  const words = {
    correlation: "correlation of the MLP's share with the sum of earlier ones, over prompts",
    release: "what the MLP adds more for each logit that an ablated earlier layer adds less",
  };
  const interval = "95 % bootstrap interval over prompts";
  return {
    ...Object.fromEntries(
      (["correlation", "release"] as const).flatMap((name) => [
        [`erasure_${name}`, variable(name, "estimate", words[name])],
        [`erasure_${name}_ci_low`, variable(name, "low", `${interval}, low`)],
        [`erasure_${name}_ci_high`, variable(name, "high", `${interval}, high`)],
      ]),
    ),
    erasure: {
      dims: ["layer"],
      data: rows.map(({ share, correlation, release }) => {
        if (prompts < 3) return "too few prompts";
        return share.high < 0 && correlation.high < 0 && release.low > 0 ? "erases" : "no";
      }),
      attrs: { long_name: "whether the MLP takes back what earlier parts have written" },
    },
  };
}

/** Σ removed·given back and Σ removed² over earlier layers, of each prompt: their ratio is the least-squares factor. */
function released({
  ablated,
  effects,
  units,
  layer,
  layers,
}: Omit<ErasurePart, "seed"> & { readonly layer: number }): {
  readonly numerators: readonly number[];
  readonly denominators: readonly number[];
} {
  const sums = effects.map(({ attn, mlp }) => {
    let [products, squares] = [0, 0];
    for (const [row, unit] of units.entries()) {
      if (unit.kind === "head" || firstReached(unit, ablated.parallel).mlp > layer) continue;
      const own = unit.kind === "mlp" ? mlp : attn;
      const removed = -(own[row * layers + unit.layer] ?? 0);
      products += removed * (mlp[row * layers + layer] ?? 0);
      squares += removed ** 2;
    }
    return { products, squares };
  });
  return {
    numerators: sums.map(({ products }) => products),
    denominators: sums.map(({ squares }) => squares),
  };
}
