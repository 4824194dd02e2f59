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

/** layer × head over two pairs, each with its own: one head that helps one pair alone. */
export function headsByPair(): Dataset {
  const dims = { layer: 6, head: 4 };
  const share = (pair: number, layer: number, head: number): number =>
    layer === 4 && head === 2 ? 0.9 - 0.8 * pair : 0.01 * ((layer + head + pair) % 3);
  return dataset({
    attrs: { ...attrs, prompts: { pairs: 2, answer: " Mary", foil: " John" } },
    dims: { pair: 2, ...dims },
    coords: {
      pair: { dims: ["pair"], data: ["store", "park"], attrs: {} },
      layer: range("layer", 6),
      head: range("head", 4),
    },
    dataVars: {
      z: variable(dims, (layer, head) => restored((share(0, layer, head) + share(1, layer, head)) / 2)),
      z_per_pair: variable({ pair: 2, ...dims }, (pair, layer, head) => restored(share(pair, layer, head))),
    },
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

/** `attention`: a previous-token head, an induction head and a copying one; patterns of the first two. */
export function headScores(): Dataset {
  const tokens = ["<s>", "A", " B", "C", "A", " B", "C"];
  const noise = random(6);
  const heads = { layer: 4, head: 3 };
  const planted =
    (layer: number, head: number) =>
    (at: number, of: number): number =>
      (at === layer && of === head ? 0.85 : 0.05) + 0.03 * noise.uniform();
  const score = (layer: number, head: number): Variable =>
    variable(heads, planted(layer, head), { unit: "1" });
  const moved = ({ data }: Variable, by: number): Variable =>
    variable(heads, (layer, head) => Number(data[layer * 3 + head]) + by);
  const [previous, induction] = [score(0, 1), score(2, 2)];
  const none = variable(heads, () => Number.NaN);
  const shown = { pattern_head: 2, dst: tokens.length, src: tokens.length };
  /** Previous token; what stood behind an earlier copy, else the first. */
  const looked = [(dst: number) => dst - 1, (dst: number) => (dst < 4 ? 0 : dst - 2)];
  const pattern = variable(shown, (head, dst, src) => {
    if (src > dst) return 0;
    if (dst === 0) return 1;
    return src === Math.max(0, looked[head]?.(dst) ?? 0) ? 0.9 : 0.1 / dst;
  });
  return dataset({
    attrs: {
      method: "attention",
      unit: "1",
      question: "What do heads attend to, and do they copy it?",
      even: {
        previous_token: 0.25,
        duplicate_token: null,
        induction: 0.17,
        first_token: 0.25,
        "to answer": 0.2,
      },
      pattern_of: "0",
    },
    dims: { ...heads, role: 1, ...shown, pos: tokens.length },
    coords: {
      role: { dims: ["role"], data: ["answer"], attrs: {} },
      pattern_head: { dims: ["pattern_head"], data: ["0.1", "2.2"], attrs: {} },
      token: { dims: ["pos"], data: tokens, attrs: {} },
    },
    dataVars: {
      previous_token: previous,
      previous_token_ci_low: moved(previous, -0.04),
      previous_token_ci_high: moved(previous, 0.05),
      previous_token_weighted: moved(previous, 0.02),
      duplicate_token: none,
      induction,
      induction_ci_low: moved(induction, -0.06),
      induction_ci_high: moved(induction, 0.04),
      induction_weighted: moved(induction, 0.03),
      first_token: score(1, 0),
      attention_to: { ...score(3, 1), dims: ["role", "layer", "head"] },
      copying: variable(heads, (layer, head) =>
        layer === 0 && head === 0 ? Number.NaN : layer === 2 && head === 2 ? 0.9 : (head - 1) / 3,
      ),
      class: {
        dims: ["layer", "head"],
        data: Array.from({ length: 12 }, (_, cell) =>
          cell === 1 ? "previous token" : cell === 8 ? "induction" : "",
        ),
        attrs: { detail: true },
      },
      pattern: { ...pattern, attrs: { detail: true } },
      value_pattern: {
        ...variable(
          shown,
          (head, dst, src) => (Number(pattern.data[(head * 7 + dst) * 7 + src]) * (src + 1)) / 4,
        ),
        attrs: { detail: true },
      },
    },
  });
}

/** `hydra`: attention of layer 2 argues for the answer, layer 3 and the norm make up for most of it. */
export function repairedLayers(): Dataset {
  const dims = { layer: 5 };
  const heads = { layer: 5, head: 3 };
  const parts: Readonly<Record<string, readonly number[]>> = {
    attn_direct: [-0.02, -0.1, -1.6, -0.2, -0.3],
    attn_by_attn: [0.02, 0.05, 0.7, 0, 0],
    attn_by_mlp: [-0.05, 0.02, -0.1, 0.05, -0.02],
    attn_norm: [0.01, 0.02, 0.4, 0.1, 0.2],
    mlp_direct: [-0.4, 0.1, 0.05, -0.9, 0.3],
    mlp_by_attn: [-1.8, -0.1, 0, 0.2, 0],
    mlp_by_mlp: [-2.1, -0.2, 0.05, 0.1, 0],
    mlp_norm: [1.2, 0.1, 0, 0.3, -0.1],
  };
  const column = (name: string) => (layer: number) => parts[name]?.[layer] ?? 0;
  const variables: Record<string, Variable> = Object.fromEntries(
    Object.keys(parts).map((name) => [name, variable(dims, column(name), { unit: "logit" })]),
  );
  for (const kind of ["attn", "mlp"]) {
    const total = (layer: number): number =>
      ["direct", "by_attn", "by_mlp", "norm"].reduce(
        (sum, part) => sum + column(`${kind}_${part}`)(layer),
        0,
      );
    variables[`${kind}_total`] = variable(dims, total, { unit: "logit" });
    for (const [side, by] of [
      ["low", -0.2],
      ["high", 0.15],
    ] as const) {
      variables[`${kind}_direct_ci_${side}`] = variable(
        dims,
        (layer) => column(`${kind}_direct`)(layer) + by,
      );
      variables[`${kind}_total_ci_${side}`] = variable(dims, (layer) => total(layer) + by);
    }
  }
  const planted = (size: number) => (layer: number, head: number) =>
    layer === 2 && head === 1 ? size : 0.02 * ((layer + head) % 3) - 0.02;
  return dataset({
    attrs: {
      method: "hydra",
      metric: "logit_diff",
      unit: "logit",
      direction: "noise",
      baseline_clean: 6.12,
      question: "What makes up for an ablated component, and how much of its direct effect?",
    },
    dims: heads,
    coords: { layer: range("layer", 5), head: range("head", 3) },
    dataVars: {
      ...variables,
      head_direct: variable(heads, planted(-1.5), { unit: "logit" }),
      head_compensation: variable(heads, planted(0.6), { unit: "logit" }),
      head_total: variable(heads, planted(-0.6), { unit: "logit" }),
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
