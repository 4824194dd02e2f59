/** @file The cells of `patch` where its options leave them open. */
import { inputError } from "../core/errors.ts";
import { DEFAULT_PATCH_BY, DEFAULT_PATCH_SITES, type PatchOptions } from "./options/patch.ts";

/**
 * Sites and dims where prompts differ in length, which leaves no cells by position. Of the residual stream they would
 * be the whole of it, which is the other run by construction; what is added to it tells layers apart.
 */
const SITES_BY_LAYER: readonly string[] = ["attn_out", "mlp_out"];
const BY_LAYER: readonly string[] = ["layer"];

export interface PatchCells {
  readonly sites: readonly string[];
  readonly by: readonly string[];
  /** What was taken that is not the default of prompts of one length. */
  readonly note?: string;
}

/**
 * The sites and dims that the options name, or else the defaults.
 * @param of tokens of the prompts, undefined where they differ; whether the sites are of the residual stream
 * @throws InputError where none are named for prompts of different lengths, and sites or positions are of no use without.
 */
export function patchCells(
  { site, by, pos, dst, src }: Pick<PatchOptions, "site" | "by" | "pos" | "dst" | "src">,
  of: { readonly positions: number | undefined; readonly hasStates: boolean },
): PatchCells {
  if (by !== undefined || of.positions !== undefined)
    return { sites: site ?? DEFAULT_PATCH_SITES, by: by ?? DEFAULT_PATCH_BY };
  const wholeStream = site !== undefined && of.hasStates;
  if (wholeStream || pos !== undefined || dst !== undefined || src !== undefined) {
    throw inputError(
      "--by",
      `none, and its default, ${DEFAULT_PATCH_BY}, over prompts of different lengths`,
      "prompts with the same number of tokens",
      `Give cells without a position, such as --site ${SITES_BY_LAYER} --by ${BY_LAYER}, or use prompts of one length.`,
    );
  }
  const taken = `--by ${BY_LAYER}`;
  const why = `the prompts differ in length, so there are no cells by position (default --by ${DEFAULT_PATCH_BY})`;
  if (site !== undefined) return { sites: site, by: BY_LAYER, note: `${why}; took ${taken}` };
  const instead = `took --site ${SITES_BY_LAYER} ${taken}`;
  const reason = `${DEFAULT_PATCH_SITES} (default) by layer alone would be the other run by construction`;
  return { sites: SITES_BY_LAYER, by: BY_LAYER, note: `${why}; ${instead}, as ${reason}` };
}
