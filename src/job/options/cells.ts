/** @file Options that say which cells of a grid there are. */
import { type Fault, merged } from "../../core/errors.ts";
import { GRID_DIMS } from "../../method/grid.ts";
import { isSiteName, SITE_NAMES } from "../../run/site.ts";
import { flag, indices, names } from "../fields.ts";
import type { OptionEntry, OptionTable } from "./entry.ts";

export interface CellOptions {
  readonly site?: readonly string[];
  readonly by?: readonly string[];
  readonly layer?: readonly number[];
  readonly pos?: readonly number[];
  readonly head?: readonly number[];
  readonly "kv-head"?: readonly number[];
  readonly neuron?: readonly number[];
  readonly dst?: readonly number[];
  readonly src?: readonly number[];
  readonly ungroup?: boolean;
}

/** @param help which by default */
export function site(help: string): OptionEntry<readonly string[]> {
  return { read: names, takes: "<names>", under: "cells", help };
}

function labels(help: string): OptionEntry<readonly number[]> {
  return { read: indices, takes: "<list>", under: "cells", help };
}

/** @param help what sites and dims there are by default */
export function cells(help: { readonly site: string; readonly by: string }): OptionTable<CellOptions> {
  return {
    site: site(help.site),
    by: { read: names, takes: "<dims>", under: "cells", help: help.by },
    layer: labels("only these, e.g. 3,7-9"),
    pos: labels("only these"),
    head: labels("only these"),
    "kv-head": labels("only these"),
    neuron: labels("only these"),
    dst: labels("only these query positions"),
    src: labels("only these key positions"),
    ungroup: { read: flag, under: "cells", help: "keys and values of each query head by itself" },
  };
}

/** Sites and dims that no model has: all that can be said of them before one is opened. */
export function nameFaults(
  { site = [], by = [] }: { readonly [K in "site" | "by"]: CellOptions[K] | undefined },
  whereOf: (option: string) => string,
): Fault[] {
  const fault = (option: string, name: string, wanted: string): Fault => ({
    where: whereOf(option),
    found: JSON.stringify(name),
    wanted,
  });
  const dims: readonly string[] = GRID_DIMS;
  return merged([
    ...site
      .filter((name) => !isSiteName(name))
      .map((name) => fault("site", name, `one of ${SITE_NAMES.join(", ")}`)),
    ...by
      .filter((name) => !dims.includes(name))
      .map((name) => fault("by", name, `some of ${dims.join(", ")}`)),
  ]);
}
