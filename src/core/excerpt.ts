/** @file Values of untrusted JSON in the few characters that a message has for them. */

/** Levels that are written; the values that messages are about have at most three. */
const MAX_DEPTH = 4;

/**
 * A value as JSON, cut to `most` characters. Deeper levels are left out: JSON.parse takes any depth, but
 * JSON.stringify exhausts the stack on some thousands of levels.
 */
export function excerpt(value: unknown, most: number): string {
  const json = JSON.stringify(upToDepth(value, MAX_DEPTH)) ?? "nothing";
  return json.length <= most ? json : `${json.slice(0, most)}…`;
}

function upToDepth(value: unknown, depth: number): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (depth === 0) return "…";
  if (Array.isArray(value)) return value.map((element) => upToDepth(element, depth - 1));
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, upToDepth(inner, depth - 1)]));
}
