/** @file What a job adds to the result of its method. */
import type { Dataset, Json } from "../result/result.ts";

/** A result with the warnings of its prompts in front of its own, and further options. */
export function withWarnings(
  result: Dataset,
  warnings: readonly string[],
  options: Readonly<Record<string, Json>>,
): Dataset {
  const found: readonly Json[] = Array.isArray(result.attrs.warnings) ? result.attrs.warnings : [];
  const own = result.attrs.options as Readonly<Record<string, Json>>;
  return {
    ...result,
    attrs: { ...result.attrs, warnings: [...warnings, ...found], options: { ...own, ...options } },
  };
}
