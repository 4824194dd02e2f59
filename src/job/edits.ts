/** @file Files of edits: interventions on one prompt, and the prompts whose runs they take values from. */
import { z } from "zod";
import { type Fault, refuse } from "../core/errors.ts";
import type { Model } from "../model/model.ts";
import { type Edit, editSchema } from "../run/edit.ts";
import type { Axis } from "../run/site.ts";
import { axisSize, SITES, siteShape } from "../run/site.ts";
import { inWords } from "./fields.ts";

export interface EditFile {
  readonly edits: readonly Edit[];
  /** Prompts of the runs that edits of kind `run` name by index. */
  readonly runs: readonly string[];
}

const MAX_EDITS = 10_000; // every head of the largest models is 8,000
const MAX_RUNS = 1_000; // each is one more forward pass

const editFileSchema: z.ZodType<EditFile> = z.strictObject({
  edits: z.array(editSchema).min(1).max(MAX_EDITS),
  runs: z.array(z.string().min(1)).max(MAX_RUNS).default([]),
});

/** Reads `{ "edits": […], "runs": ["…"] }`. @throws InputError with every fault. */
export function readEdits(json: string, where: string): EditFile {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    refuse([{ where, found: (error as Error).message, wanted: "JSON" }]);
  }
  const parsed = editFileSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  refuse(
    parsed.error.issues.map((issue) => ({
      where: [where, ...issue.path.map(String)].join(", "),
      found: inWords(issue.path.reduce<unknown>(property, value)),
      wanted: `an edit file, {"edits": […], "runs": ["…"]} (${issue.message})`,
    })),
  );
  throw parsed.error;
}

function property(value: unknown, key: PropertyKey): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
}

/**
 * Holds edits against a model and the lengths of the prompts.
 * @throws InputError with every layer, site, index, run or shape that does not exist or does not fit.
 */
export function checkEdits(
  edits: readonly Edit[],
  model: Model,
  lengths: { readonly where: string; readonly prompt: number; readonly runs: readonly number[] },
): void {
  const { architecture, definition } = model;
  const faults: Fault[] = [];
  for (const [index, edit] of edits.entries()) {
    const { site, layer, where, value } = edit;
    const place = `${lengths.where}, edits ${index}`;
    const block = definition.blocks[layer];
    if (block === undefined) {
      faults.push({ where: place, found: `layer ${layer}`, wanted: `0 to ${definition.blocks.length - 1}` });
    } else if (!block.sites.has(site)) {
      faults.push({ where: place, found: `site ${site}`, wanted: "a site that this model has" });
    }
    for (const [name, labels = []] of Object.entries(where)) {
      const axis = name as Axis;
      if (!SITES[site].axes.includes(axis)) {
        faults.push({
          where: place,
          found: `where.${axis}`,
          wanted: `axes of ${site}: ${SITES[site].axes.join(", ")}`,
        });
        continue;
      }
      const size = axisSize(axis, architecture, lengths.prompt);
      const outside = labels.filter((label) => label >= size);
      if (outside.length > 0) {
        faults.push({
          where: `${place}, where.${axis}`,
          found: outside.join(", "),
          wanted: `0 to ${size - 1}`,
        });
      }
    }
    if (value.kind === "run") faults.push(...runFaults(place, edit, { run: value.run, ...lengths }));
    if (value.kind === "given") {
      const whole = siteShape(site, architecture, lengths.prompt);
      const fits =
        value.shape.length === whole.length &&
        value.shape.every((size, axis) => size === 1 || size === whole[axis]);
      if (!fits) {
        faults.push({
          where: `${place}, value.shape`,
          found: `[${value.shape.join(", ")}]`,
          wanted: `[${whole.join(", ")}], or 1 along an axis that one value serves`,
        });
      }
      const size = value.shape.reduce((product, length) => product * length, 1);
      if (value.data.length !== size) {
        faults.push({
          where: `${place}, value.data`,
          found: `${value.data.length} numbers`,
          wanted: `${size}`,
        });
      }
    }
  }
  refuse(faults);
}

function runFaults(
  where: string,
  { site, where: cells }: Edit,
  { run, prompt, runs }: { readonly run: number; readonly prompt: number; readonly runs: readonly number[] },
): Fault[] {
  const length = runs[run];
  if (length === undefined) {
    return [
      { where: `${where}, value.run`, found: String(run), wanted: `the index of one of ${runs.length} runs` },
    ];
  }
  const axes = SITES[site].axes.filter((axis) => axis === "pos" || axis === "dst" || axis === "src");
  // An axis taken whole needs a run of the same length.
  const beyond = axes.filter((axis) => (cells[axis] ?? [prompt - 1]).some((label) => label >= length));
  const ragged = axes.filter((axis) => cells[axis] === undefined && length !== prompt);
  if (beyond.length === 0 && ragged.length === 0) return [];
  return [
    {
      where: `${where}, value.run`,
      found: `a run of ${length} tokens`,
      wanted: `the same number as the prompt, ${prompt}, or positions that both have`,
    },
  ];
}
