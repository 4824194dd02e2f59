/** @file Edits: interventions as data, so that they print, save, travel to workers and replay. */

import { z } from "zod";
import { type Check, listOf, nested, oneKindOf, oneOf, required, such, whole } from "../core/options.ts";
import { range } from "../numeric/cells.ts";
import type { Axis, SiteName } from "./site.ts";
import { SITE_NAMES, SITES } from "./site.ts";

/** Longest index list of one edit: the neurons of the widest layer known. */
const MAX_INDICES = 1 << 20;

/** Which cells of a site: the product of the listed indices; an axis that is not listed is taken whole. */
export type Where = { readonly [A in Axis]?: readonly number[] | undefined };

/** Where new values come from. */
export type EditValue =
  /** The same cells of another run: its index among the runs that the edit is evaluated with. */
  | { readonly kind: "run"; readonly run: number }
  /** One number for every cell; 0 is zero ablation. */
  | { readonly kind: "fill"; readonly value: number }
  /** The site's whole value for one sequence, row-major; on a position axis of size 1, the same for every position. */
  | { readonly kind: "given"; readonly shape: readonly number[]; readonly data: ArrayLike<number> };

/** What is done to the chosen cells. */
export const editActions = ["replace", "add", "scale"] as const;
export type EditAction = (typeof editActions)[number];

/**
 * An intervention at one site of one layer: the chosen cells are replaced by the value, or the value is added to
 * them, or they are multiplied by it.
 */
export interface Edit {
  readonly site: SiteName;
  readonly layer: number;
  readonly where: Where;
  readonly action: EditAction;
  readonly value: EditValue;
}

const along = listOf(whole(0), "whole numbers");
export const whereCheck: Check<Where> = nested<Where>({
  pos: along,
  dst: along,
  src: along,
  head: along,
  kv_head: along,
  d_head: along,
  d_model: along,
  neuron: along,
});

/** Edits as library users give them; whether the model has the cells is told where they are made. */
export const editsCheck: Check<readonly Edit[]> = listOf(
  nested<Edit>({
    site: required(oneOf(SITE_NAMES)),
    layer: required(whole(0)),
    where: required(whereCheck),
    action: required(oneOf(editActions)),
    value: required(
      oneKindOf<EditValue>({
        run: { run: required(whole(0)) },
        fill: { value: required(such("a number", Number.isFinite)) },
        given: {
          shape: required(listOf(whole(1), "whole numbers")),
          data: required(such("numbers", hasLength)),
        },
      }),
    ),
  }),
  "edits",
);

/** Numbers are not looked at one by one: there may be as many as a site has. */
function hasLength(data: unknown): boolean {
  return typeof data === "object" && data !== null && "length" in data;
}

const indices = z.array(z.int().min(0)).max(MAX_INDICES).optional();

/** Edits as JSON; a `given` value is a flat list of numbers with its shape. */
export const editSchema: z.ZodType<Edit> = z.strictObject({
  site: z.enum(SITE_NAMES as [SiteName, ...SiteName[]]),
  layer: z.int().min(0),
  where: z
    .strictObject({
      pos: indices,
      dst: indices,
      src: indices,
      head: indices,
      kv_head: indices,
      d_head: indices,
      d_model: indices,
      neuron: indices,
    })
    .default({}),
  action: z.enum(editActions).default("replace"),
  value: z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("run"), run: z.int().min(0) }),
    z.strictObject({ kind: z.literal("fill"), value: z.number() }),
    z.strictObject({
      kind: z.literal("given"),
      shape: z.array(z.int().min(1)).max(4),
      data: z.array(z.number()).max(1 << 26),
    }),
  ]),
});

/** The site's value from another run, cell for cell. */
export function patch(
  site: SiteName,
  layer: number,
  options: { readonly run: number; readonly where?: Where },
): Edit {
  return {
    site,
    layer,
    where: options.where ?? {},
    action: "replace",
    value: { kind: "run", run: options.run },
  };
}

/** An edit of a layer that is not there would never be made, and read as one without effect. */
export function requireLayers(edits: readonly Edit[], layers: number): void {
  for (const { site, layer } of edits) {
    if (!(layer >= 0 && layer < layers)) {
      throw new RangeError(`${site} of layer ${layer}: the layers are 0 to ${layers - 1}`);
    }
  }
}

/** The axis on which a site's value is laid out over query positions (or key positions, where it has no queries). */
export function positionAxis(site: SiteName): "pos" | "dst" | "src" {
  const axes: readonly Axis[] = SITES[site].axes;
  if (axes.includes("pos")) return "pos";
  return axes.includes("dst") ? "dst" : "src";
}

/** Whether the edit gives some tokens a value behind attention that owes nothing to the one computed. */
export function replacesTokens({ site, where, action }: Edit): boolean {
  const along = positionAxis(site);
  const whole = Object.entries(where).every(([axis, indices]) => indices === undefined || axis === along);
  return action === "replace" && SITES[site].stage === "after" && along === "pos" && whole;
}

/**
 * Whether cells of attention with src > dst stay as they are where attention is causal: scores are masked there, and
 * patterns are 0 in every run, so that only a number from outside can make a difference.
 */
function leavesMasked({ site, action, value }: Edit): boolean {
  if (site === "scores" || action === "scale" || value.kind === "run") return true;
  return value.kind === "fill" && value.value === 0;
}

/** The smallest of a list, which may be longer than a call takes arguments. */
function least(list: readonly number[]): number {
  return list.reduce((smallest, number) => Math.min(smallest, number), Number.POSITIVE_INFINITY);
}

/**
 * Positions of the residual stream that can differ after the block in which the edit is made: those edited, and,
 * where keys or values changed, all that attend to them.
 */
export function changedPositions(
  edit: Edit,
  options: { readonly length: number; readonly causal: boolean },
): number[] {
  const { length, causal } = options;
  const edited = edit.where[positionAxis(edit.site)] ?? [...range(length)];
  if (!SITES[edit.site].spreads) {
    const firstSource = causal && leavesMasked(edit) ? least(edit.where.src ?? [0]) : 0;
    return [...new Set(edited)].filter((position) => position >= firstSource).sort((a, b) => a - b);
  }
  if (edited.length === 0) return [];
  const first = causal ? least(edited) : 0;
  return [...range(length - first, first)];
}
