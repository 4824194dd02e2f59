/** @file What the heads' scores look for: rows of the pattern, and in each the positions that count. */

import type { Prompted } from "../model/fact.ts";
import type { TargetRows } from "../numeric/attention.ts";

/** A prompt and what is known of the parts that its tokens play. Facts and pairs are such prompts. */
export interface AttendedPrompt extends Prompted {
  /** Positions of a fact's subject. */
  readonly subject?: readonly number[] | undefined;
  /** Positions at which the two prompts of a pair differ. */
  readonly differing?: readonly number[] | undefined;
  /** Positions of further parts by their names. */
  readonly roles?: Readonly<Record<string, readonly number[]>> | undefined;
}

/** Scores that follow from the tokens alone. */
export const tokenScores = ["previous_token", "duplicate_token", "induction", "first_token"] as const;
export type TokenScore = (typeof tokenScores)[number];

/** The first row in which the previous token is not the first one too. */
const FIRST_ROW = 2;

/**
 * The rows of a score. `previous_token` and `first_token`: all from the third position on, where the two can be told apart.
 * `duplicate_token`: those whose token occurred before, and where. `induction`: the same rows, and the positions right
 * behind those occurrences, the row's own left out.
 */
export const targetRows: { readonly [S in TokenScore]: (ids: readonly number[]) => TargetRows } = {
  previous_token: (ids) => later(ids).map((dst) => ({ dst, sources: [dst - 1] })),
  first_token: (ids) => later(ids).map((dst) => ({ dst, sources: [0] })),
  duplicate_token: (ids) => rowsOf(ids, (dst) => earlier(ids, dst)),
  induction: (ids) =>
    rowsOf(ids, (dst) =>
      earlier(ids, dst)
        .map((position) => position + 1)
        .filter((position) => position < dst),
    ),
};

const later = (ids: readonly number[]): number[] => [...ids.keys()].slice(FIRST_ROW);
const earlier = (ids: readonly number[], dst: number): number[] =>
  [...ids.keys()].slice(0, dst).filter((position) => ids[position] === ids[dst]);

function rowsOf(ids: readonly number[], sourcesOf: (dst: number) => readonly number[]): TargetRows {
  return [...ids.keys()]
    .map((dst) => ({ dst, sources: sourcesOf(dst) }))
    .filter(({ sources }) => sources.length > 0);
}

/** Where attention to roles is read: at the last position, or at all from the role on. */
export const attendedFrom = ["last", "all"] as const;
export type AttendedFrom = (typeof attendedFrom)[number];

/** The rows of a role. */
export function roleRows(
  positions: readonly number[],
  { length, from }: { readonly length: number; readonly from: AttendedFrom },
): TargetRows {
  const rows = from === "last" ? [length - 1] : Array.from({ length }, (_, dst) => dst);
  return rows
    .map((dst) => ({ dst, sources: positions.filter((position) => position <= dst) }))
    .filter(({ sources }) => sources.length > 0);
}

/** The parts that tokens of a prompt play: the answer's and foil's own tokens, subject, what differs, and named ones. */
export function rolesOf(prompt: AttendedPrompt): Record<string, readonly number[]> {
  const { clean, answers, foils, subject = [], differing = [], roles = {} } = prompt;
  const of = (options: AttendedPrompt["answers"]): number[] => {
    const first = options.map(({ ids }) => ids[0]);
    return [...clean.ids.keys()].filter((position) => first.includes(clean.ids[position]));
  };
  const all = { answer: of(answers), foil: of(foils), subject, differing, ...roles };
  return Object.fromEntries(Object.entries(all).filter(([, positions]) => positions.length > 0));
}

/** What even attention over all positions up to its own would score; NaN where no row counts. */
export function evenShare(rows: TargetRows): number {
  return rows.reduce((sum, { dst, sources }) => sum + sources.length / (dst + 1), 0) / rows.length;
}
