/** @file How time and memory grow with layers, tokens, cells and pairs, and the figure of it. */
import type { Spec } from "../../plot/views.ts";
import { inProcess } from "./probe.ts";
import { seededGpt2 } from "./seeded-gpt2.ts";
import { growthExponent } from "./statistics.ts";

const AXES = {
  layers: [3, 6, 12],
  tokens: [16, 32, 64, 128],
  cells: [3, 6, 12],
  pairs: [1, 5, 10, 20],
} as const;
export type GrowthAxis = keyof typeof AXES;

export interface GrowthPoint {
  readonly axis: GrowthAxis;
  readonly size: number;
  /** All cells of all pairs. */
  readonly cells: number;
  readonly seconds: number;
  readonly peakBytes: number;
}

export interface Growth {
  readonly points: readonly GrowthPoint[];
  /** Exponent p of seconds ∝ size^p. */
  readonly exponents: Readonly<Record<GrowthAxis, number>>;
}

/** resid_pre layer×pos on models of GPT-2 small's width; one size varies at a time, each point in its own process. */
export async function growth(options: {
  readonly cache: string;
  readonly threads: number;
  readonly say: (line: string) => void;
}): Promise<Growth> {
  const points: GrowthPoint[] = [];
  for (const axis of Object.keys(AXES) as GrowthAxis[]) {
    for (const size of AXES[axis]) {
      const model = await seededGpt2(options.cache, { layers: axis === "layers" ? size : 12 });
      const at = (name: GrowthAxis, usual: number): number => (axis === name ? size : usual);
      const { seconds, peakBytes, cells } = await inProcess({
        model,
        kind: "resid_pre",
        threads: options.threads,
        on: {
          tokens: at("tokens", axis === "cells" ? 128 : 32),
          pairs: at("pairs", axis === "cells" ? 20 : 1),
        },
        ...(axis === "cells" ? { labels: size } : {}),
      });
      const point = { axis, size: axis === "cells" ? cells : size, cells, seconds, peakBytes };
      options.say(
        `growth: ${axis} ${point.size}: ${seconds.toFixed(2)} s, ${Math.round(peakBytes / 1e6)} MB`,
      );
      points.push(point);
    }
  }
  const exponents = Object.fromEntries(
    Object.keys(AXES).map((axis) => [
      axis,
      growthExponent(
        points.filter((point) => point.axis === axis).map(({ size, seconds }) => ({ size, value: seconds })),
      ),
    ]),
  ) as Record<GrowthAxis, number>;
  return { points, exponents };
}

/** Time above, memory below, one column an axis, both scales logarithmic so that linear growth has slope 1. */
export function growthFigure({ points }: Growth): Spec {
  const values = points.map(({ axis, size, seconds, peakBytes }) => ({
    axis,
    size,
    seconds,
    megabytes: Math.round(peakBytes / 1e6),
  }));
  const row = (field: string, title: string): Spec => ({
    hconcat: Object.keys(AXES).map((axis) => ({
      width: 170,
      height: 150,
      transform: [{ filter: { field: "axis", equal: axis } }],
      mark: { type: "line", point: true },
      encoding: {
        x: {
          field: "size",
          type: "quantitative",
          scale: { type: "log" },
          title: axis,
          axis: { tickCount: 4 },
        },
        y: { field, type: "quantitative", scale: { type: "log" }, title, axis: { tickCount: 4 } },
      },
    })),
  });
  return {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    description: "Growth of a sweep's time and memory",
    background: "white",
    padding: 12,
    title: "resid_pre layer×pos, GPT-2-small-shaped: growth of time and peak memory",
    data: { values },
    vconcat: [row("seconds", "seconds"), row("megabytes", "peak memory, MB")],
  };
}
