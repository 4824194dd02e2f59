/** @file What gradients refuse: sites, layers and sequences that the model does not have. */

import type { Fault } from "../core/errors.ts";
import type { Model } from "../model/model.ts";
import type { GradientRun } from "./end-gradients.ts";
import type { SiteName } from "./site.ts";
import { SITE_NAMES } from "./site.ts";

/** Everything that is wrong with what is asked for. */
export function gradientFaults(
  { architecture, definition }: Pick<Model, "architecture" | "definition">,
  sequences: readonly GradientRun[],
  options: { readonly sites: readonly SiteName[]; readonly layers?: readonly number[] },
): Fault[] {
  const faults: Fault[] = [];
  const count = definition.blocks.length;
  const known = new Set(SITE_NAMES.filter((site) => definition.blocks.some(({ sites }) => sites.has(site))));
  const strange = options.sites.filter((site) => !known.has(site));
  if (strange.length > 0)
    faults.push({ where: "sites", found: strange.join(", "), wanted: `some of ${[...known].join(", ")}` });
  const outside = options.layers?.filter((layer) => !(layer in definition.blocks)) ?? [];
  const layers = outside.length > 0 ? outside.join(", ") : "none";
  if (outside.length > 0 || options.layers?.length === 0)
    faults.push({ where: "layers", found: layers, wanted: `some of 0 to ${count - 1}` });
  for (const [index, { ids, objective }] of sequences.entries()) {
    const where = `sequences ${index}`;
    if (ids.length === 0) faults.push({ where, found: "no token", wanted: "at least one" });
    const wanted = `token ids from 0 to ${architecture.vocabulary - 1}`;
    const isToken = (id: number): boolean => Number.isInteger(id) && id >= 0 && id < architecture.vocabulary;
    for (const [place, list] of [
      ["ids", ids],
      ["objective.columns", objective.columns ?? []],
    ] as const) {
      const wrong = list.filter((id) => !isToken(id));
      if (wrong.length > 0)
        faults.push({ where: `${where}, ${place}`, found: wrong.slice(0, 6).join(", "), wanted });
    }
    const beyond = objective.positions.filter((position) => !(position in ids));
    if (ids.length > 0 && beyond.length > 0)
      faults.push({
        where: `${where}, objective.positions`,
        found: beyond.slice(0, 6).join(", "),
        wanted: `0 to ${ids.length - 1}`,
      });
  }
  return faults;
}
