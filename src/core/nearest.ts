/** @file The name that was probably meant, for messages about unknown ones. */

const MAX_DISTANCE = 3; // as many slips as commander allows where it suggests options and commands
const LEAST_SHARE = 0.4; // of letters that are right, as there; fewer, and anything short is like anything else

/** `Did you mean "ioi"?` where a known name is near, as the last sentence of a fault. */
export function didYouMean(found: string, known: readonly string[]): string | undefined {
  const nearest = nearestOf(found, known);
  return nearest === undefined ? undefined : `Did you mean ${JSON.stringify(nearest)}?`;
}

/** The first of the known names that the fewest slips turn into what was found, if those are few. */
export function nearestOf(found: string, known: readonly string[]): string | undefined {
  let nearest: { readonly name: string; readonly distance: number } | undefined;
  for (const name of known) {
    const length = Math.max(found.length, name.length);
    if (Math.abs(found.length - name.length) > MAX_DISTANCE) continue;
    const distance = slips(found.toLowerCase(), name.toLowerCase());
    if (distance > MAX_DISTANCE || length - distance <= LEAST_SHARE * length) continue;
    if (nearest === undefined || distance < nearest.distance) nearest = { name, distance };
  }
  return nearest?.name;
}

/** Letters added, left out, changed, or swapped with the next (optimal string alignment; Damerau 1964). */
function slips(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  const at = (i: number, j: number): number => rows[i]?.[j] ?? Number.POSITIVE_INFINITY;
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= b.length; j++) {
      const changed = at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? at(i - 2, j - 2) + 1 : changed;
      row.push(Math.min(changed, swapped, at(i - 1, j) + 1, at(i, j - 1) + 1));
    }
  }
  return at(a.length, b.length);
}
