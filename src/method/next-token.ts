/** @file The distribution of the next token, with or without edits. */
import { refuse } from "../core/errors.ts";
import { type OptionChecks, optionFaults, whole } from "../core/options.ts";
import type { Model } from "../model/model.ts";
import type { Tokens } from "../model/pair-tokens.ts";
import { logSumExp, topLogits } from "../numeric/logits.ts";
import type { Dataset, Json } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import { type Edit, editsCheck } from "../run/edit.ts";
import { unembed } from "../run/ends.ts";
import type { Cache } from "../run/forward.ts";
import { cachesCheck, forward } from "../run/forward.ts";
import { provenance } from "./provenance.ts";

/** Most probable tokens that are listed. */
export const DEFAULT_TOP = 10;

export interface NextTokenOptions {
  /** How many of the most probable tokens. Default 10; the whole vocabulary at most. */
  readonly top?: number | undefined;
  readonly edits?: readonly Edit[] | undefined;
  /** Captured runs that edits take values from. */
  readonly runs?: readonly Cache[] | undefined;
}

export const nextTokenChecks: OptionChecks<NextTokenOptions> = {
  top: whole(1),
  edits: editsCheck,
  runs: cachesCheck,
};

/**
 * The most probable next tokens of a prompt.
 *
 * @returns a dataset with `logit`, `logprob` (nats) and `prob` over dim `rank`, labelled by `token` and `token_id`.
 */
export async function nextTokens(
  model: Model,
  prompt: Tokens,
  options: NextTokenOptions = {},
): Promise<Dataset> {
  refuse(optionFaults(options, nextTokenChecks));
  const { edits = [], runs = [] } = options;
  const { residuals } = await forward(model, [prompt.ids], { edits: [edits], runs });
  const last = residuals[0]?.slice(-model.architecture.dModel) ?? model.backend.allocate(0);
  const { logits = model.backend.allocate(0) } = await unembed(model, last, { logits: true });
  const top = topLogits(logits, Math.min(options.top ?? DEFAULT_TOP, logits.length));
  const ids = top.map(({ index }) => index);
  const total = logSumExp(logits);
  const values = Float64Array.from(top, ({ value }) => value);
  const over = (data: Float64Array | readonly string[] | readonly number[], attrs: Record<string, Json>) => ({
    dims: ["rank"],
    data,
    attrs,
  });
  return dataset({
    attrs: {
      method: "run",
      logsumexp: total,
      ...(await provenance(model, [])),
      prompts: { prompt: prompt.text, tokens: [...prompt.ids], pieces: [...prompt.pieces] },
    },
    dims: { rank: top.length },
    coords: { token: over(model.tokenizer.pieces(ids), {}), token_id: over(ids, {}) },
    dataVars: {
      logit: over(values, { unit: "logit" }),
      logprob: over(
        values.map((logit) => logit - total),
        { unit: "nat" },
      ),
      prob: over(
        values.map((logit) => Math.exp(logit - total)),
        { unit: "1" },
      ),
    },
  });
}
