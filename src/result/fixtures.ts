/** @file Seeded synthetic results for tests: planted structure over a small noise, shaped like the real ones. */
import { random } from "../core/random.ts";
import { type Dataset, dataset, type Variable } from "./result.ts";

const clean = [
  "When",
  " Mary",
  " and",
  " John",
  " went",
  " to",
  " the",
  " store",
  ",",
  " John",
  " gave",
  " a",
  " drink",
  " to",
];
const corrupt = clean.with(9, " Mary");

/** A numeric variable from a function of the positions along its dims. */
export function variable(
  dims: Readonly<Record<string, number>>,
  value: (...positions: number[]) => number,
  attrs: Variable["attrs"] = {},
): Variable {
  const shape = Object.values(dims);
  const size = shape.reduce((product, dim) => product * dim, 1);
  const data = Float64Array.from({ length: size }, (_, index) => {
    let rest = index;
    const positions = shape.toReversed().map((dim) => {
      const position = rest % dim;
      rest = Math.floor(rest / dim);
      return position;
    });
    return value(...positions.reverse());
  });
  return { dims: Object.keys(dims), data, attrs };
}

/** Labels 0, 1, 2, … of a dim. */
export function range(dim: string, size: number): Variable {
  return { dims: [dim], data: Array.from({ length: size }, (_, index) => index), attrs: {} };
}

const baselines = { baseline_clean: 6.12, baseline_corrupt: -5.485 };

/** Attributes as `patch` writes them, of an indirect-object prompt. */
export const attrs: Dataset["attrs"] = {
  method: "activation-patching",
  metric: "logit_diff",
  unit: "logit",
  direction: "denoise",
  ...baselines,
  verify_cells: 4,
  verify_max_abs_diff: 2.1e-5,
  noise_floor: 0,
  model: { name: "example-135m", sha256: "6b1f0c", dtype: "float32" },
  prompts: { clean: clean.join(""), corrupt: corrupt.join(""), answer: " Mary", foil: " John" },
  options: { by: ["layer", "pos"], seed: 1 },
  software: { crosspatch: "0.1.0" },
  seconds: 0.7,
};

/** The token coordinates of the example prompt. */
export const tokenCoords: Dataset["coords"] = {
  pos: range("pos", clean.length),
  token_clean: { dims: ["pos"], data: clean, attrs: {} },
  token_corrupt: { dims: ["pos"], data: corrupt, attrs: {} },
};

/** The metric of an edited run from the share of the gap that it restores. */
function restored(share: number): number {
  return baselines.baseline_corrupt + share * (baselines.baseline_clean - baselines.baseline_corrupt);
}

/** layer × pos of the residual stream: all at the differing token early, all at the last token late; plus MLPs. */
export function layerByPosition(layers = 12): Dataset {
  const noise = random(1);
  const moved = (layer: number) => 1 / (1 + Math.exp(-(layer - 0.6 * layers)));
  const share = (layer: number, pos: number): number => {
    if (pos < 9) return 0;
    const jitter = 0.01 * noise.normal();
    if (pos === 9) return 1 - moved(layer) + jitter;
    return pos === 13 ? moved(layer) + jitter : jitter;
  };
  const dims = { layer: layers, pos: clean.length };
  const resid = variable(dims, (layer, pos) => restored(share(layer, pos)), { unit: "logit" });
  const mlp = variable(
    dims,
    (layer, pos) => restored(pos < 9 ? 0 : 0.02 * noise.normal() - (layer === 8 && pos === 13 ? 0.3 : 0)),
    { unit: "logit" },
  );
  const normalized = ({ data }: Variable): Variable =>
    variable(dims, (layer, pos) => (Number(data[layer * clean.length + pos]) + 5.485) / 11.605, {
      unit: "1",
    });
  return dataset({
    attrs,
    dims,
    coords: { layer: range("layer", layers), ...tokenCoords },
    dataVars: {
      resid_pre: resid,
      resid_pre_normalized: normalized(resid),
      mlp_out: mlp,
      mlp_out_normalized: normalized(mlp),
    },
  });
}

/** layer × head over several pairs: two heads that help, one that hurts, 95 % intervals, one cell not computed. */
export function layerByHead(): Dataset {
  const noise = random(2);
  const dims = { layer: 12, head: 9 };
  const planted: Readonly<Record<string, number>> = { "9,6": 0.34, "9,7": 0.21, "10,2": -0.18 };
  const z = variable(dims, (layer, head) =>
    layer === 11 && head === 8
      ? Number.NaN
      : restored((planted[`${layer},${head}`] ?? 0) + 0.012 * noise.normal()),
  );
  const shifted = (by: number): Variable =>
    variable(dims, (layer, head) => Number(z.data[layer * 9 + head]) + by);
  return dataset({
    attrs: { ...attrs, prompts: { pairs: 20 } },
    dims,
    coords: { layer: range("layer", 12), head: range("head", 9) },
    dataVars: { z, z_ci_low: shifted(-0.5), z_ci_high: shifted(0.5) },
  });
}

/** layer × pos × head: one head at one token. */
export function layerByPositionByHead(): Dataset {
  const noise = random(3);
  const dims = { layer: 6, pos: clean.length, head: 4 };
  return dataset({
    attrs,
    dims,
    coords: { layer: range("layer", 6), head: range("head", 4), ...tokenCoords },
    dataVars: {
      z: variable(dims, (layer, pos, head) =>
        restored(pos < 9 ? 0 : (layer === 4 && pos === 13 && head === 2 ? 0.6 : 0) + 0.02 * noise.normal()),
      ),
    },
  });
}

/** dst × src of one head's attention pattern, effects of single entries. */
export function destinationBySource(): Dataset {
  const noise = random(4);
  const dims = { dst: clean.length, src: clean.length };
  return dataset({
    attrs: { ...attrs, options: { layer: 9, head: 6 } },
    dims: { ...dims, pos: clean.length },
    coords: { dst: range("dst", clean.length), src: range("src", clean.length), ...tokenCoords },
    dataVars: {
      pattern: variable(dims, (dst, src) =>
        src > dst ? Number.NaN : restored((dst === 13 && src === 1 ? 0.4 : 0) + 0.005 * noise.normal()),
      ),
    },
  });
}

/** `path`: heads and MLPs with dims of their own, and a scalar. */
export function pathEffects(): Dataset {
  const noise = random(5);
  return dataset({
    attrs: { ...attrs, method: "path-patching" },
    dims: { layer: 6, head: 4 },
    coords: { layer: range("layer", 6), head: range("head", 4) },
    dataVars: {
      head_effect: variable(
        { layer: 6, head: 4 },
        (layer, head) => (layer === 4 && head === 1 ? -2 : 0) + 0.1 * noise.normal(),
      ),
      mlp_effect: variable({ layer: 6 }, () => 0.2 * noise.normal()),
      embed_effect: variable({}, () => -0.35),
    },
  });
}

/** `run`: the most probable next tokens. */
export function nextTokens(): Dataset {
  const logits = [17.21, 14.9, 13.02, 12.7];
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit), Math.exp(13.5));
  const dims = { rank: logits.length };
  const at = (rank: number): number => logits[rank] ?? Number.NaN;
  return dataset({
    attrs: { method: "run", prompts: { prompt: clean.join("") } },
    dims,
    coords: {
      rank: range("rank", 4),
      token: { dims: ["rank"], data: [" Mary", " the", "\n", " 約翰"], attrs: {} },
      token_id: { dims: ["rank"], data: [7893, 260, 198, 40211], attrs: {} },
    },
    dataVars: {
      logit: variable(dims, at, { unit: "logit" }),
      logprob: variable(dims, (rank) => at(rank) - Math.log(total), { unit: "nat" }),
      prob: variable(dims, (rank) => Math.exp(at(rank)) / total, { unit: "1" }),
    },
  });
}
