/** @file Files of edits: interventions on one prompt, and the prompts whose runs they take values from. */
import { z } from "zod";
import { type Fault, refuse } from "../core/errors.ts";
import { inWords } from "../core/excerpt.ts";
import { repeatedKeyFaults } from "../core/repeated-keys.ts";
import type { Architecture } from "../model/architecture.ts";
import { wantedBy } from "../model/config.ts";
import type { Model } from "../model/model.ts";
import { type Edit, editSchema } from "../run/edit.ts";
import { type EditOn, editAtStep, lengthRun } from "../run/generate.ts";
import type { Axis } from "../run/site.ts";
import { axisSize, SITES } from "../run/site.ts";

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
  refuse(repeatedKeyFaults(json, where));
  const parsed = editFileSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  refuse(parsed.error.issues.map((issue) => faultOf(issue, value, where)));
  throw parsed.error;
}

function faultOf(issue: z.core.$ZodIssue, value: unknown, where: string): Fault {
  const [list = "", index = "", ...rest] = issue.path.map(String);
  const place = [where, `${list} ${index}`.trim(), rest.join(".")].filter((part) => part !== "").join(", ");
  if (issue.code === "unrecognized_keys") {
    const keys = issue.keys.map((key) => inWords(key)).join(", ");
    return { where: place, found: `the unknown key ${keys}`, wanted: "only known ones" };
  }
  let wanted = issue.path.length === 0 ? 'an edit file, {"edits": […], "runs": ["…"]}' : wantedBy(issue);
  // The one choice between shapes is the kind of a value, by its name.
  if ("options" in issue) wanted = `one of ${issue.options?.map((kind) => inWords(kind)).join(", ")}`;
  return { where: place, found: inWords(issue.path.reduce<unknown>(property, value)), wanted };
}

function property(value: unknown, key: PropertyKey): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
}

/** What edits are made in. */
export interface EditedRuns {
  /** File of the edits, for messages. */
  readonly where: string;
  /** Tokens of the prompt. */
  readonly prompt: number;
  /** Tokens of each run that values are taken from. */
  readonly runs: readonly number[];
  /** The continuation, if there is one: most tokens that are generated, and when edits are made. */
  readonly generated?: { readonly tokens: number; readonly editOn: EditOn } | undefined;
}

/**
 * Holds edits against a model and the lengths of the prompts, in every step of a generation.
 * @throws InputError with every layer, site, index, run or shape that does not exist or does not fit.
 */
export function checkEdits(edits: readonly Edit[], model: Model, texts: EditedRuns): void {
  const { architecture, definition } = model;
  const faults: Fault[] = [];
  for (const [index, edit] of edits.entries()) {
    const { site, layer, where, value } = edit;
    const place = `${texts.where}, edits ${index}`;
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
      const size = axisSize(axis, architecture, texts.prompt);
      const outside = labels.filter((label) => label >= size);
      if (outside.length > 0) {
        faults.push({
          where: `${place}, where.${axis}`,
          found: outside.join(", "),
          wanted: `0 to ${size - 1}`,
        });
      }
    }
    if (value.kind === "run") faults.push(...runFaults(place, edit, { run: value.run, ...texts }));
    if (value.kind === "given") {
      const whole = wholeShape(edit, architecture, texts);
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

/** Positions from the first one on that an edit wants a value for, along an axis of positions. */
function reach(edit: Edit, axis: Axis, { prompt, generated }: EditedRuns): number {
  if (edit.where[axis] !== undefined || generated === undefined) return prompt;
  const length = lengthRun(prompt, generated.tokens);
  const made = editAtStep(edit, { prompt, length, first: 0, editOn: generated.editOn });
  return (made?.where[axis] ?? []).reduce((most, position) => Math.max(most, position + 1), prompt);
}

const isPosition = (axis: Axis): boolean => axis === "pos" || axis === "dst" || axis === "src";

/** Shape of all the values that an edit can want. */
function wholeShape(edit: Edit, architecture: Architecture, texts: EditedRuns): number[] {
  return SITES[edit.site].axes.map((axis) =>
    isPosition(axis) ? reach(edit, axis, texts) : axisSize(axis, architecture, texts.prompt),
  );
}

function runFaults(where: string, edit: Edit, texts: EditedRuns & { readonly run: number }): Fault[] {
  const { run, prompt, runs, generated } = texts;
  const length = runs[run];
  if (length === undefined) {
    return [
      { where: `${where}, value.run`, found: String(run), wanted: `the index of one of ${runs.length} runs` },
    ];
  }
  const place = `${where}, value.run`;
  const found = `a run of ${length} ${length === 1 ? "token" : "tokens"}`;
  const axes = SITES[edit.site].axes.filter(isPosition);
  const wanted = Math.max(prompt, ...axes.map((axis) => reach(edit, axis, texts)));
  if (wanted > prompt && length < wanted) {
    return [
      {
        where: place,
        found,
        wanted: `at least ${wanted}: every-step takes a value for each position, and ${generated?.tokens} tokens are generated`,
        fix: "Name positions, or edit the prompt alone.",
      },
    ];
  }
  // An axis taken whole needs a run of the same length.
  const beyond = axes.some((axis) => (edit.where[axis] ?? []).some((label) => label >= length));
  const ragged = axes.some((axis) => edit.where[axis] === undefined && reach(edit, axis, texts) === prompt);
  if (!beyond && !(ragged && length !== prompt)) return [];
  return [
    {
      where: place,
      found,
      wanted: `the same number as the prompt, ${prompt}, or positions that both have`,
    },
  ];
}
