/** @file The rows of the speed table: which cells of which model, and the pairs of token ids they are measured on. */
import { random } from "../../core/random.ts";
import type { GridDim } from "../../method/grid.ts";
import type { Architecture } from "../../model/architecture.ts";
import type { Pair } from "../../model/pair.ts";
import type { Tokens } from "../../model/pair-tokens.ts";

export const ROW_KINDS = ["resid_pre", "heads", "heads-by-pos", "neurons", "pattern"] as const;
export type RowKind = (typeof ROW_KINDS)[number];

/** What a row sweeps; `one` names the dims of which only one label is taken, half-way along the model. */
interface Kind {
  readonly site: string;
  readonly by: readonly GridDim[];
  readonly one: readonly GridDim[];
  readonly label: string;
}

export const KINDS: { readonly [K in RowKind]: Kind } = {
  resid_pre: { site: "resid_pre", by: ["layer", "pos"], one: [], label: "resid_pre layer×pos" },
  heads: { site: "z", by: ["layer", "head"], one: [], label: "z layer×head" },
  "heads-by-pos": { site: "z", by: ["layer", "pos", "head"], one: [], label: "z layer×pos×head" },
  neurons: {
    site: "mlp_post",
    by: ["layer", "neuron"],
    one: ["layer"],
    label: "mlp_post neurons of one layer",
  },
  pattern: {
    site: "pattern",
    by: ["layer", "head", "dst", "src"],
    one: ["layer", "head"],
    label: "pattern cells of one head",
  },
};

/** A cell by its labels, in the order of the kind's dims. */
export type CellLabels = readonly number[];

/** Labels along each dim of a row; the cells are their product, in row-major order. */
export function axesOf(
  kind: RowKind,
  architecture: Architecture,
  tokens: number,
): readonly (readonly number[])[] {
  const sizes: { readonly [D in GridDim]: number } = {
    layer: architecture.layers.length,
    pos: tokens,
    dst: tokens,
    src: tokens,
    head: architecture.heads,
    kv_head: architecture.kvHeads,
    neuron: architecture.dMlp,
  };
  const { by, one } = KINDS[kind];
  return by.map((dim) =>
    one.includes(dim)
      ? [Math.floor(sizes[dim] / 2)]
      : Array.from({ length: sizes[dim] }, (_, label) => label),
  );
}

/** The product of the axes, row-major. */
export function cellsOf(axes: readonly (readonly number[])[]): CellLabels[] {
  return axes.reduce<number[][]>(
    (cells, axis) => cells.flatMap((cell) => axis.map((label) => [...cell, label])),
    [[]],
  );
}

const IOI_TOKENS = 14;
const IOI_DIFFERS_AT = 9; // the second name

/**
 * Pairs of random token ids that differ at one position, by default as far into the prompt as the second name of the
 * IOI pair is.
 * No tokenizer is involved; answer and foil are two more ids.
 */
export function seededPairs(
  vocabulary: number,
  options: { readonly tokens: number; readonly pairs: number; readonly differing?: number },
): Pair[] {
  const source = random(options.tokens * 1000 + options.pairs);
  const { differing = Math.floor((options.tokens * IOI_DIFFERS_AT) / IOI_TOKENS) } = options;
  return Array.from({ length: options.pairs }, (_, index) => {
    const clean = Array.from({ length: options.tokens }, () => source.integer(vocabulary));
    const corrupt = clean.with(
      differing,
      ((clean[differing] ?? 0) + 1 + source.integer(vocabulary - 1)) % vocabulary,
    );
    const answer = source.integer(vocabulary);
    const foil = (answer + 1 + source.integer(vocabulary - 1)) % vocabulary;
    return {
      id: String(index),
      clean: tokensOfIds(clean),
      corrupt: tokensOfIds(corrupt),
      answers: [tokensOfIds([answer])],
      foils: [tokensOfIds([foil])],
      differing: [differing],
      where: `seeded pair ${index + 1}`,
    };
  });
}

function tokensOfIds(ids: readonly number[]): Tokens {
  const pieces = ids.map((id) => `<${id}>`);
  return { text: pieces.join(""), ids, pieces };
}
