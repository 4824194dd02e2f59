/** @file The two ends of a model: token embedding and unembedding. */

import type { Program } from "../program/program.ts";
import { builder } from "../program/program.ts";
import type { Norm } from "./parts.ts";
import { norm, softcap } from "./parts.ts";

export interface EmbedOptions {
  readonly table: string;
  readonly vocabulary: number;
  readonly width: number;
  /** Learned position embedding (GPT-2). */
  readonly positions?: { readonly table: string; readonly count: number };
  /** Factor on the token embedding (Gemma: √d). */
  readonly scale?: number | undefined;
}

/**
 * ids [token] → resid_pre [token, d]. Sites: `embed` (the token embedding, after any scale), `pos_embed` (learned
 * positions), resid_pre (their sum); and what is looked up, which whoever has the rows can give instead of the
 * tables: `token_rows`, `position_rows` [token, d].
 */
export function embedTokens({ table, vocabulary, width, positions, scale }: EmbedOptions): Program {
  const b = builder();
  const rows = b.site(
    "token_rows",
    b.op("take_rows", [b.context("ids", ["token"], "int"), b.weight(table, [vocabulary, width])]),
  );
  const tokens = b.site("embed", scale === undefined ? rows : b.op("scale", [rows], { by: scale }));
  if (positions === undefined) {
    b.site("resid_pre", tokens);
  } else {
    const index = b.context("positions", ["token"], "int");
    const learned = b.site(
      "position_rows",
      b.op("take_rows", [index, b.weight(positions.table, [positions.count, width])]),
    );
    b.site("resid_pre", b.op("add", [tokens, b.site("pos_embed", learned)]));
  }
  return b.build(["resid_pre"]);
}

export interface UnembedOptions {
  readonly norm: Norm;
  /** [vocabulary, d]. */
  readonly table: string;
  readonly bias?: string | undefined;
  readonly vocabulary: number;
  /** Logits become cap·tanh(logits/cap) (Gemma 2). */
  readonly softcap?: number | undefined;
}

/**
 * resid_post [token, d] → logits. Sites: final_norm [token, d] and its scale, final_scale [token, 1]; logits [token, vocabulary]; logsumexp [token, 1]
 * (natural logarithm, over the whole vocabulary); columns [token, n]: logits of the token ids given as context
 * `columns` [n], at the price of n rows of the unembedding instead of all; and those rows and their bias, which can
 * be given instead of the whole: `column_rows` [n, d], `column_bias` [n].
 */
export function unembedTokens(options: UnembedOptions): Program {
  const { table, bias, vocabulary } = options;
  const b = builder();
  const residual = b.state("resid_post", ["token", options.norm.width]);
  const x = b.site("final_norm", norm(b, residual, options.norm, "final_scale"));
  const weight = b.weight(table, [vocabulary, options.norm.width]);
  const chosen = b.context("columns", ["column"], "int");
  const capped = (logits: string): string =>
    options.softcap === undefined ? logits : softcap(b, logits, options.softcap);

  const all = bias === undefined ? [x, weight] : [x, weight, b.weight(bias, [vocabulary])];
  const logits = b.site("logits", capped(b.op("linear", all, { layout: "out_in" })));
  b.site("logsumexp", b.op("logsumexp", [logits]));

  const some = [x, b.site("column_rows", b.op("take_rows", [chosen, weight]))];
  if (bias !== undefined) {
    const column = b.op("reshape", [b.weight(bias, [vocabulary])], { shape: [vocabulary, 1] });
    const values = b.op("reshape", [b.op("take_rows", [chosen, column])], { shape: ["column"] });
    some.push(b.site("column_bias", values));
  }
  b.site("columns", capped(b.op("linear", some, { layout: "out_in" })));
  return b.build(["logits"]);
}
