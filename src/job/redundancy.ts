/** @file The job of the command `redundancy`: running text, cut into stretches. */
import { inputError } from "../core/errors.ts";
import { layerRedundancy } from "../method/layer-redundancy.ts";
import type { Model } from "../model/model.ts";
import type { Tokens } from "../model/pair-tokens.ts";
import type { Dataset } from "../result/result.ts";
import type { JobContext } from "./input.ts";
import { DEFAULT_STRETCH_TOKENS, DEFAULT_STRETCHES, type RedundancyOptions } from "./options/redundancy.ts";
import { withWarnings } from "./warnings.ts";

/** Cuts and compares. @throws InputError for texts that are too short for the stretches asked for. */
export async function redundancyJob(
  model: Model,
  options: RedundancyOptions,
  context: JobContext,
): Promise<Dataset> {
  const { text: path = "", tokens = DEFAULT_STRETCH_TOKENS, n = DEFAULT_STRETCHES, middle } = options;
  const bos = options.bos ?? model.tokenizer.addsBos;
  const texts = stretches(model, await context.readText(path), { path, tokens, n, bos });
  const result = await layerRedundancy(model, texts, {
    blocks: options.blocks,
    middle: middle === undefined ? undefined : [middle[0] ?? 0, middle.at(-1) ?? 0],
    seed: options.seed,
    onProgress: context.onProgress,
    signal: context.signal,
  });
  return withWarnings(result, [], { tokens, n, bos });
}

/** The first stretches of a text, each with BOS in front where that is asked for. */
function stretches(
  { tokenizer }: Model,
  text: string,
  {
    path,
    tokens,
    n,
    bos,
  }: { readonly path: string; readonly tokens: number; readonly n: number; readonly bos: boolean },
): Tokens[] {
  const ids = tokenizer.encode(text, { bos: false });
  const front = bos && tokenizer.bosId !== undefined ? [tokenizer.bosId] : [];
  const each = tokens - front.length;
  if (ids.length < n * each) {
    throw inputError(
      path,
      `${ids.length} tokens`,
      `${n * each} for ${n} stretches of ${tokens}`,
      "Ask for less with --n or --tokens.",
    );
  }
  return Array.from({ length: n }, (_, index) => {
    const own = ids.slice(index * each, (index + 1) * each);
    const all = [...front, ...own];
    return { text: tokenizer.decode(own), ids: all, pieces: tokenizer.pieces(all) };
  });
}
