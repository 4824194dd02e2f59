/** @file The job of the command `attention`: what heads attend to, on prompts or on random tokens said twice. */

import { refuse } from "../core/errors.ts";
import { random } from "../core/random.ts";
import { attention } from "../method/attention.ts";
import type { AttendedPrompt } from "../method/attention-targets.ts";
import type { Model } from "../model/model.ts";
import type { Dataset } from "../result/result.ts";
import { headNamed } from "./heads.ts";
import type { JobContext } from "./input.ts";
import { type AttentionOptions, DEFAULT_SEQUENCES } from "./options/attention.ts";
import { promptSource, promptsFileOr } from "./prompts.ts";
import { withWarnings } from "./warnings.ts";

/** Reads patterns and scores heads. @throws InputError before anything is computed. */
export async function attentionJob(
  model: Model,
  options: AttentionOptions,
  context: JobContext,
): Promise<Dataset> {
  const { bos = model.tokenizer.addsBos, repeat, patterns, seed = 0 } = options;
  const { prompts, warnings } =
    repeat === undefined
      ? await promptsFileOr(options, model.tokenizer, context)
      : {
          prompts: saidTwice(model, { tokens: repeat, n: options.n ?? DEFAULT_SEQUENCES, seed, bos }),
          warnings: [],
        };
  const result = await attention(model, prompts, {
    from: options.from,
    patterns: patterns?.join() === "all" ? "all" : patterns?.map(headNamed),
    example: options.example,
    perPair: options["per-pair"],
    seed,
    onProgress: context.onProgress,
    signal: context.signal,
  });
  return withWarnings(result, warnings, {
    bos,
    ...promptSource(options),
    ...(repeat === undefined ? {} : { repeat }),
  });
}

/**
 * Sequences of distinct random tokens, each sequence twice over: what tells induction heads from heads that know the
 * language. Source: Olsson et al. 2022, "In-context Learning and Induction Heads", appendix on head scores.
 */
function saidTwice(
  { tokenizer, architecture }: Model,
  {
    tokens,
    n,
    seed,
    bos,
  }: { readonly tokens: number; readonly n: number; readonly seed: number; readonly bos: boolean },
): AttendedPrompt[] {
  const special = new Set([tokenizer.bosId, ...tokenizer.eosIds]);
  const most = Math.min(tokenizer.size, architecture.vocabulary) - special.size;
  if (tokens > most) {
    refuse([
      { where: "--repeat", found: String(tokens), wanted: `at most ${most}, as many as there are tokens` },
    ]);
  }
  const source = random(seed);
  return Array.from({ length: n }, (_, index) => {
    const drawn = new Set<number>();
    while (drawn.size < tokens) {
      const id = source.integer(Math.min(tokenizer.size, architecture.vocabulary));
      if (!special.has(id)) drawn.add(id);
    }
    const start = bos && tokenizer.bosId !== undefined ? [tokenizer.bosId] : [];
    const ids = [...start, ...drawn, ...drawn];
    const where = `sequence ${index}`;
    const clean = { text: tokenizer.decode(ids), ids, pieces: tokenizer.pieces(ids) };
    return { id: `random-${index}`, where, clean, answers: [], foils: [] };
  });
}
