/** @file Results that the gallery draws and no other test needs: corruptions compared, scores of edges. */
import { random } from "../../src/core/random.ts";
import { variable } from "../../src/result/fixtures.ts";
import { type Dataset, dataset, type Variable } from "../../src/result/result.ts";

const LAYERS = 12;
const words = (dim: string, data: readonly string[]): Variable => ({
  dims: [dim],
  data: [...data],
  attrs: {},
});

const CORRUPTIONS = ["noise 1σ", "noise 3σ", "replacement", "zero"];
const ROLES = ["last corrupted token", "last token"];
/** What each corruption takes of a logit difference of 4. */
const TAKEN = [0.1, 7, 8, 9];
/** Layer at which MLPs of the last corrupted token bring most back: noise shows a later one than replacement. */
const PEAK = [3, 6, 3, 7];

/** `corruptions`: replacement finds layer 3; noise of three deviations and zero a later one; that of one takes too little. */
export function comparedCorruptions(): Dataset {
  const noise = random(11);
  const cells = { corruption: CORRUPTIONS.length, layer: LAYERS, role: ROLES.length };
  /** Share that a restored cell brings back: a bump around the peak at the corrupted token, a rise at the last. */
  const share = (isMlp: boolean): Variable =>
    variable(cells, (corruption, layer, role) => {
      const away = layer - (PEAK[corruption] ?? 0) - (isMlp ? 0 : 2);
      const bump = (isMlp ? 0.6 : 0.25) / (1 + away * away);
      const late = (isMlp ? 0.1 : 0.5) / (1 + (layer - 9) * (layer - 9));
      return (role === 0 ? bump : late) + 0.03 * (noise.uniform() - 0.5);
    });
  const grid = (name: string, shares: Variable): Record<string, Variable> => {
    const scaled = (by: number, attrs: Variable["attrs"]): Variable =>
      variable(
        cells,
        (corruption, layer, role) =>
          by *
          (TAKEN[corruption] ?? 0) *
          Number(shares.data[(corruption * LAYERS + layer) * ROLES.length + role]),
        attrs,
      );
    const detail = { unit: "logit", detail: true };
    return {
      [`${name}_logit_diff`]: scaled(1, { unit: "logit", quantity: "metric", detail: true }),
      [`${name}_logit_diff_effect`]: scaled(1, { unit: "logit", quantity: "effect", detail: true }),
      [`${name}_logit_diff_effect_ci_low`]: scaled(0.8, detail),
      [`${name}_logit_diff_effect_ci_high`]: scaled(1.2, detail),
      [`${name}_logit_diff_normalized`]: { ...shares, attrs: { unit: "1", detail: true } },
      ...Object.fromEntries(
        (
          [
            ["low", 0.8],
            ["high", 1.2],
          ] as const
        ).map(([side, by]) => [
          `${name}_logit_diff_normalized_ci_${side}`,
          variable(
            cells,
            (corruption, layer, role) =>
              by * Number(shares.data[(corruption * LAYERS + layer) * ROLES.length + role]),
            { unit: "1", detail: true },
          ),
        ]),
      ),
    };
  };
  const off = (values: readonly number[], least: number, grow: number): Variable =>
    variable(cells, (corruption, layer, role) => {
      const own = values[corruption] ?? 0;
      return (role === 0 ? own : least + (own - least) / 3) * (1 + (grow * layer) / LAYERS);
    });
  const found = { grid: 2, metric: 1, corruption: CORRUPTIONS.length };
  const whole = { corruption: CORRUPTIONS.length, role: ROLES.length };
  /** Of MLPs; of attention the shares are less than half, two layers later. */
  const byCorruption = (values: readonly number[], ofAttention = (value: number) => value): Variable =>
    variable(found, (at, _, corruption) => (at === 0 ? Number : ofAttention)(values[corruption] ?? 0));
  return dataset({
    attrs: {
      method: "corruptions",
      metric: "logit_diff",
      unit: "logit",
      question: "Do corruptions agree on what brings back the logit difference?",
      reference: "replacement",
      intervals_over: "pairs",
      baseline_clean: 4,
      baselines_clean: { logit_diff: 4 },
      verdicts: [{ corruption: "noise 1σ", grid: "mlp_out", status: "weak" }],
      verdict: ["Noise 3σ: parts from replacement in mlp_out (it finds layer 6, replacement layer 3)."],
    },
    dims: { ...cells, grid: 2, metric: 1, other_corruption: CORRUPTIONS.length },
    coords: {
      corruption: words("corruption", CORRUPTIONS),
      other_corruption: words("other_corruption", CORRUPTIONS),
      role: words("role", ROLES),
      grid: words("grid", ["mlp_out", "attn_out"]),
      metric: words("metric", ["logit_diff"]),
    },
    dataVars: {
      ...grid("mlp_out", share(true)),
      ...grid("attn_out", share(false)),
      baseline_logit_diff: variable({ corruption: CORRUPTIONS.length }, (at) => 4 - (TAKEN[at] ?? 0)),
      distance: off([21, 60, 24, 75], 20, 0.4),
      distance_clean: variable({ layer: LAYERS, role: 2 }, (layer) => 20 + layer / 3),
      norm_ratio: variable(
        cells,
        (corruption, layer) => 1 + ([0, 0.9, 0, -0.6][corruption] ?? 0) / (1 + layer),
      ),
      entropy_shift: off([0.02, 0.4, 0.05, 0.6], 0, -0.5),
      off_distance: variable(
        whole,
        (corruption, role) => 1 + ([0.1, 2, 0.2, 2.7][corruption] ?? 0) / (1 + role),
      ),
      off_norm: variable(whole, (corruption) => [1, 1.4, 1, 0.8][corruption] ?? 1),
      off_entropy: variable(whole, (corruption) => [0.02, 0.35, 0.05, 0.5][corruption] ?? 0),
      peak_share: byCorruption([0, 0.61, 0.6, 0.58], (share) => share / 2.4),
      peak_layer: byCorruption(PEAK, (layer) => layer + 2),
      peak_place: {
        dims: Object.keys(found),
        data: Array.from({ length: 2 * CORRUPTIONS.length }, () => "last corrupted token"),
        attrs: { detail: true },
      },
      peak_share_ratio: byCorruption([0, 1.02, 1, 0.97]),
      detections: byCorruption([0, 2, 1, 2]),
      detections_shared: byCorruption([0, 0, 1, 0]),
      rank_agreement: variable({ ...found, other_corruption: CORRUPTIONS.length }, (_, __, at, other) =>
        at === other ? 1 : 0.4,
      ),
    },
  });
}

/** `edge-attribution`: a duplicate-token circuit of eleven edges, its scores of the first order, the largest patched too. */
export function scoredEdges(): Dataset {
  const scores: readonly (readonly [edge: string, score: number, exact?: number])[] = [
    ["a3.h1->logits", 2.4, 2.31],
    ["a0.h2->a2.h0<k>", 1.7, 1.42],
    ["a2.h0->a3.h1<q>", -1.45, -1.6],
    ["input->a0.h2<q>", 1.2, 1.18],
    ["input->a0.h2<k>", 1.1, 1.05],
    ["a3.h0->logits", -0.9, -0.86],
    ["m0->a2.h0<v>", 0.6],
    ["input->m0", 0.55],
    ["m3->logits", 0.4],
    ["a3.h1->m3", 0.35],
    ["a2.h0->a3.h0<v>", 0.3],
    ["a1.h3->m2", 0.05],
    ["m1->a3.h2<k>", -0.03],
  ];
  const edge = scores.map(([name]) => name);
  const along = (values: readonly number[]): Variable => ({
    dims: ["edge"],
    data: Float64Array.from(values),
    attrs: { unit: "logit" },
  });
  return dataset({
    attrs: {
      method: "edge-attribution",
      metric: "logit_diff",
      unit: "logit",
      direction: "noise",
      baseline_clean: 3.2,
      baseline_corrupt: -2.9,
      edges: 1254,
      forwards: 2,
      backwards: 1,
      verified: 6,
      verify_rank_correlation: 0.94,
      verify_max_abs_error: 0.28,
      verify_mean_abs_exact: 1.4,
      verify_sign_agreement: 1,
      seconds: 4.2,
      seconds_estimate: 0.4,
      circuit: { select: "greedy", signed: false, size: 12, edges: 11, nodes: 8, nodes_in_all: 22 },
    },
    dims: { edge: edge.length },
    coords: { edge: words("edge", edge) },
    dataVars: {
      score: along(scores.map(([, score]) => score)),
      score_ci_low: along(scores.map(([, score]) => score - 0.1 - Math.abs(score) / 8)),
      score_ci_high: along(scores.map(([, score]) => score + 0.1 + Math.abs(score) / 8)),
      score_exact: along(scores.map(([, , exact = Number.NaN]) => exact)),
      in_graph: along(scores.map((_, index) => (index < 11 ? 1 : 0))),
    },
  });
}
