/** @file Reading a corruption comparison by label, for its verdict, figure and text. */
import { labelsOf } from "../result/cells.ts";
import type { Dataset, Json } from "../result/result.ts";

/** Whether a result is a comparison of corruptions. */
export function isComparison(dataset: Dataset): boolean {
  return dataset.attrs.method === "corruptions";
}

export interface ComparisonView {
  readonly corruptions: readonly string[];
  /** The one that the others are held against. */
  readonly reference: string;
  readonly metrics: readonly string[];
  readonly roles: readonly string[];
  readonly grids: readonly { readonly name: string; readonly over: "role" | "head" }[];
  /** A number by its labels; NaN where the result has no such variable. */
  number(variable: string, labels: Readonly<Record<string, string | number>>): number;
  text(variable: string, labels: Readonly<Record<string, string | number>>): string;
  /** Corruptions that take too little for their shares to mean anything. */
  readonly weak: ReadonlySet<string>;
  /** … and those of which the samples or pairs do not tell whether they do. */
  readonly untold: ReadonlySet<string>;
}

/** Labels and look-up of a comparison. */
export function viewOf(dataset: Dataset): ComparisonView {
  const words = (dim: string): string[] => labelsOf(dataset, dim).map(String);
  const [metric = ""] = words("metric");
  const positions = new Map(
    Object.keys(dataset.dims).map((dim) => [
      dim,
      new Map(labelsOf(dataset, dim).map((label, at) => [String(label), at])),
    ]),
  );
  const lookUp = (variable: string, labels: Readonly<Record<string, string | number>>): Json | undefined => {
    const found = dataset.dataVars[variable];
    const index = found?.dims.reduce(
      (at, dim) =>
        at * (dataset.dims[dim] ?? 1) + (positions.get(dim)?.get(String(labels[dim])) ?? Number.NaN),
      0,
    );
    return index === undefined ? undefined : found?.data[index];
  };
  const verdicts = (dataset.attrs.verdicts ?? []) as readonly {
    readonly corruption: string;
    readonly status: string;
  }[];
  const having = (wanted: string): Set<string> =>
    new Set(verdicts.filter(({ status }) => status === wanted).map(({ corruption }) => corruption));
  return {
    corruptions: words("corruption"),
    reference: String(dataset.attrs.reference),
    metrics: words("metric"),
    roles: words("role"),
    grids: words("grid").map((name) => ({
      name,
      over: dataset.dataVars[`${name}_${metric}`]?.dims.includes("head") ? "head" : "role",
    })),
    number: (variable, labels) => Number(lookUp(variable, labels) ?? Number.NaN),
    text: (variable, labels) => String(lookUp(variable, labels) ?? ""),
    weak: having("weak"),
    untold: having("untold"),
  };
}

/** `mlp_out_window_5` as `mlp_out, windows of 5 layers`. */
export function gridWords(name: string): string {
  const [, site = name, window] = /^(.*)_window_(\d+)$/.exec(name) ?? [];
  if (window !== undefined) return `${site}, windows of ${window}`;
  return name === "z" ? "z, by head" : site;
}

/** The tokens at which a corruption enters and is read: the first is in every comparison. */
export function shownRoles({ roles }: ComparisonView): string[] {
  return ["last corrupted token", "last token"].filter((role) => roles.includes(role));
}
