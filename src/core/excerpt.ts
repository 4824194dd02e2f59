/** @file Values that users give in the few characters that a message has for them. */

/** Characters of a value that a message has room for. */
const MAX_SHOWN = 60;
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
  if (typeof value === "bigint") return String(value); // which JSON.stringify refuses
  if (typeof value !== "object" || value === null) return value;
  if (depth === 0) return "…";
  if (Array.isArray(value)) return value.map((element) => upToDepth(element, depth - 1));
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, upToDepth(inner, depth - 1)]));
}

/** A value in a few words. */
export function inWords(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value instanceof Promise) return "a promise that is not awaited";
  if (typeof value === "function") return "a function";
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return "an object";
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "number") return String(value); // JSON has no word for those that are not finite
  return excerpt(value, MAX_SHOWN);
}
