/** @file The options of a question in a file, by their labels or as a list, and what can be wrong with labels. */
import { z } from "zod";
import type { Fault } from "../core/errors.ts";
import { groupBy } from "../core/group.ts";

/** An option of a question in a file. */
export interface GivenOption {
  readonly label: string;
  readonly text: string;
}

/** Options in order, however they are given. */
export interface GivenOptions {
  /** Whether the file says the order of any labels: a list does. */
  readonly ordered: boolean;
  readonly list: readonly GivenOption[];
}

/** Two options are the least choice; there are 26 letters. */
const [MIN_OPTIONS, MAX_OPTIONS] = [2, 26];

const label = z.string().min(1).max(20);

/** The schema of options with their texts. */
export function optionsOf(text: z.ZodType<string>): z.ZodType<GivenOptions> {
  const listed = z.array(z.strictObject({ label, text }));
  return z
    .unknown()
    .transform((given, context): GivenOptions => {
      if (typeof given !== "object" || given === null) {
        context.addIssue('labels with their texts: {"A": "…", …} or [{"label": "A", "text": "…"}, …]');
        return z.NEVER;
      }
      const ordered = Array.isArray(given);
      // By entries, as no schema of objects keeps the label "__proto__".
      const entries = Object.entries(given);
      const parsed = listed.safeParse(
        ordered ? given : entries.map(([own, value]) => ({ label: own, text: value })),
      );
      if (parsed.success) return { ordered, list: parsed.data };
      const inFile = ([index, ...rest]: readonly PropertyKey[]): PropertyKey[] =>
        ordered ? [index ?? 0, ...rest] : [entries[Number(index)]?.[0] ?? ""];
      for (const issue of parsed.error.issues) {
        const path = issue.path.length === 0 ? [] : inFile(issue.path);
        context.issues.push({ ...issue, path, input: given } as z.core.$ZodRawIssue);
      }
      return z.NEVER;
    })
    .refine(
      ({ list }) => list.length >= MIN_OPTIONS && list.length <= MAX_OPTIONS,
      `${MIN_OPTIONS} to ${MAX_OPTIONS} options`,
    );
}

/** Labels in order; none of nothing. */
export const optionLabels = (options: GivenOptions | undefined): string[] =>
  options?.list.map((option) => option.label) ?? [];

/** Keys that objects order by their size: array indices as JavaScript writes them. */
const isWhole = (key: string): boolean => String(Number(key) >>> 0) === key;

/** Labels given twice, and those whose order an object does not keep. */
export function labelFaultsOf(options: GivenOptions, where: string): Fault[] {
  const labels = optionLabels(options);
  const again = new Set(labels.filter((one, place) => labels.indexOf(one) !== place));
  if (again.size > 0)
    return [{ where, found: `the label ${[...again].join(", ")} again`, wanted: "each label once" }];
  const whole = options.ordered ? [] : labels.filter(isWhole);
  if (whole.length === 0) return [];
  return [
    {
      where,
      found: `the whole number${whole.length > 1 ? "s" : ""} ${whole.join(", ")} as keys of an object`,
      wanted: "keys that stay in the order of the file",
      fix: `Write options as a list: [{"label": "${whole[0]}", "text": "…"}, …].`,
    },
  ];
}

/** Faults of labels, which all questions share: those that are alike but for their place as one that says how many follow. */
export function oncePerLabels(faults: readonly Fault[]): Fault[] {
  const alike = groupBy(faults, ({ found, wanted }) => `${found}\n${wanted}`);
  return [...alike.values()].flatMap(([first, ...others]): Fault[] => {
    if (first === undefined) return [];
    const more = others.length === 1 ? "1 more question" : `${others.length} more questions`;
    return [others.length === 0 ? first : { ...first, found: `${first.found}, and so in ${more}` }];
  });
}
