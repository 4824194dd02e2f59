import { describe, expect, test } from "vitest";
import { families } from "../../test/goldens/load.ts";
import { bothBackends, rounding } from "../../test/helpers/backends.ts";
import { loadGolden } from "../../test/helpers/golden-model.ts";
import { random } from "../core/random.ts";
import type { FloatArray } from "../core/tensor.ts";
import { range } from "../numeric/cells.ts";
import { batchOf, contextCache, type Row } from "./batch.ts";
import { type Layer, runBlock } from "./block.ts";
import { startSites } from "./branch.ts";
import { keptName, SITE_NAMES, SITES, type SiteName, siteShape } from "./site.ts";
import { fitsWhole, runWhole } from "./whole.ts";

const row = (length: number, positions: ArrayLike<number> = range(length)): Row => ({
  positions: Int32Array.from(positions),
  length,
});
const COMPANIONS = [row(5), row(7)];
/** Each with the companion that it branched from. */
const BRANCHES: readonly (readonly [Row, number])[] = [
  [row(5, [3, 4]), 0],
  [row(7, [1, 4, 6]), 1],
  ...Array.from({ length: 5 }, () => [row(7, [4, 5, 6]), 1] as const),
  [row(7), 1],
];
const LATE = 3;

describe.each(bothBackends())("$name", (backend) => {
  test.each(families())("$name: rows of any shape end as whole runs do", async ({ name }) => {
    const model = await loadGolden(name, backend);
    const { architecture, definition } = model;
    const width = architecture.dModel;
    const { normal } = random(5);
    const noise = (size: number): FloatArray => backend.allocate(size).map(() => normal());
    for (const index of [0, definition.blocks.length - 1]) {
      const layer: Layer = {
        model,
        index,
        kind: architecture.layers[index],
        program: definition.blocks[index],
        weights: await model.weights.get(index),
        contexts: contextCache(architecture, backend.allocate),
      };
      const companions = batchOf(COMPANIONS);
      const companionResidual = noise(companions.tokens * width);
      const branches = batchOf(BRANCHES.map(([branch]) => branch));
      const branchResidual = noise(branches.tokens * width);
      const firstToken = (branch: number): number => companions.offsets[BRANCHES[branch]?.[1] ?? -1];

      // Each branch as a run of its own, at every position.
      const wanted = backend.allocate(branches.tokens * width);
      for (const [at, [branch]] of BRANCHES.entries()) {
        const from = firstToken(at) * width;
        const residual = companionResidual.slice(from, from + branch.length * width);
        const own = (token: number) => (branches.offsets[at] + token) * width;
        for (const [token, position] of branch.positions.entries()) {
          residual.set(branchResidual.subarray(own(token), own(token + 1)), position * width);
        }
        const batch = batchOf([row(branch.length)]);
        const found = await runBlock(layer, {
          batch,
          known: new Map([["resid_pre", residual]]),
          want: ["resid_post"],
        });
        const post = found.get("resid_post") as FloatArray;
        for (const [token, position] of branch.positions.entries()) {
          wanted.set(post.subarray(position * width, (position + 1) * width), own(token));
        }
      }
      const ahead = await runBlock(layer, {
        batch: companions,
        known: new Map([["resid_pre", companionResidual]]),
        want: ["rot_k", "v", "resid_post"],
      });
      const value = (site: "rot_k" | "v" | "resid_post"): FloatArray => ahead.get(site) as FloatArray;

      const all = batchOf([...COMPANIONS, ...BRANCHES.map(([branch]) => branch)]);
      expect(fitsWhole(all)).toBe(true);
      const together = await runWhole(layer, {
        batch: all,
        place: 0,
        residual: concat([companionResidual, branchResidual]),
        past: { firstToken: (at) => firstToken(at - COMPANIONS.length) },
      });
      expect(gap(together, concat([value("resid_post"), wanted]))).toBeLessThan(rounding(backend));

      const late = new Map(
        startSites(layer, "z").map((site) => {
          const [, ...rest] = siteShape(site, architecture, LATE);
          return [site, noise(rest.reduce((size, axis) => size * axis, LATE))] as const;
        }),
      );
      const restarted = await runBlock(layer, {
        batch: batchOf([row(LATE)]),
        known: late,
        want: ["resid_post"],
      });
      const past = { values: { rot_k: value("rot_k"), v: value("v") }, firstToken };
      for (const sites of replaceable(layer)) {
        const tokens = [branches.tokens - 1, 0, 3];
        const replaced = new Map(
          sites.map(
            (site) => [site, { tokens, values: noise(tokens.length * widthOf(layer, site)) }] as const,
          ),
        );
        const edited = await runBlock(layer, {
          batch: branches,
          known: new Map([["resid_pre", branchResidual]]),
          past,
          edits: [...replaced].map(([site, { values }]) => ({
            site,
            apply: (all) => put(all as FloatArray, { tokens, values }),
          })),
          want: ["resid_post"],
        });
        const given = await runWhole(layer, {
          batch: branches,
          place: 0,
          residual: branchResidual,
          past,
          replaced,
        });
        expect(gap(given, edited.get("resid_post") as FloatArray)).toBeLessThan(rounding(backend));
        expect(gap(given, wanted)).toBeGreaterThan(0.01);
      }
      const joined = await runWhole(layer, {
        batch: branches,
        place: 0,
        residual: branchResidual,
        past,
        late,
      });
      expect(gap(joined, concat([wanted, restarted.get("resid_post") as FloatArray]))).toBeLessThan(
        rounding(backend),
      );
    }
  });
});

/** Each site behind attention at which whole tokens can be given, and two of them at once. */
function replaceable({ program }: Layer): SiteName[][] {
  const sites = SITE_NAMES.filter(
    (site) =>
      program.sites.has(site) &&
      SITES[site].stage === "after" &&
      SITES[site].axes[0] === "pos" &&
      keptName(program, site) === site,
  );
  return [
    ...sites.map((site) => [site]),
    ["attn_out", "mlp_out"].map((site) => keptName(program, site as SiteName)),
  ];
}

const widthOf = ({ model }: Layer, site: SiteName): number =>
  siteShape(site, model.architecture, 1).reduce((size, axis) => size * axis, 1);

function put(
  all: FloatArray,
  { tokens, values }: { readonly tokens: readonly number[]; readonly values: FloatArray },
): void {
  const width = values.length / tokens.length;
  for (const [index, token] of tokens.entries()) {
    all.set(values.subarray(index * width, (index + 1) * width), token * width);
  }
}

function concat(parts: readonly FloatArray[]): FloatArray {
  const [first] = parts;
  return (first instanceof Float32Array ? Float32Array : Float64Array).from(
    parts.flatMap((part) => [...part]),
  );
}

/** Largest difference. */
function gap(found: ArrayLike<number>, wanted: ArrayLike<number>): number {
  expect(found.length).toBe(wanted.length);
  return Array.from(found).reduce((most, value, i) => Math.max(most, Math.abs(value - wanted[i])), 0);
}
