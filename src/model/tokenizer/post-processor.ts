/** @file Which special ids a tokenizer puts around one text, read from its post-processor. */

import { z } from "zod";
import { MAX_STEPS, MAX_TOKEN_LENGTH, readSteps, type Step } from "./definition.ts";

/** Special ids in front of and behind one text. */
export interface Surround {
  readonly prefix: readonly number[];
  readonly suffix: readonly number[];
}

const token = z.string().max(MAX_TOKEN_LENGTH);
const id = z.int().min(0);
const special = z.object({ SpecialToken: z.object({ id: token }) });
const sequence = z.object({ Sequence: z.object({ id: z.enum(["A", "B"]) }) });
const template = z.object({
  single: z.array(z.union([special, sequence])).max(MAX_STEPS),
  special_tokens: z.record(token, z.object({ ids: z.array(id).max(MAX_STEPS) })),
});
const around = z.object({ cls: z.tuple([token, id]), sep: z.tuple([token, id]) });

function readTemplate({ value, where, faults }: Step): readonly Surround[] | undefined {
  const options = faults.parse(template, value, where);
  if (options === undefined) return undefined;
  const at = options.single.findIndex((part) => "Sequence" in part && part.Sequence.id === "A");
  const sequences = options.single.filter((part) => "Sequence" in part).length;
  if (at < 0 || sequences !== 1)
    return faults.add(
      `${where}.single`,
      `${sequences} sequences`,
      "the sequence A once, special tokens around it",
    );
  const ids = options.single.map((part, i) => {
    if (!("SpecialToken" in part)) return [];
    const name = part.SpecialToken.id;
    if (Object.hasOwn(options.special_tokens, name)) return options.special_tokens[name]?.ids ?? [];
    faults.add(`${where}.single[${i}]`, name, "a name that `special_tokens` of the template lists");
    return [];
  });
  return [{ prefix: ids.slice(0, at).flat(), suffix: ids.slice(at).flat() }];
}

function readAround({ value, where, faults }: Step): readonly Surround[] | undefined {
  const options = faults.parse(around, value, where);
  return options && [{ prefix: [options.cls[1]], suffix: [options.sep[1]] }];
}

const readers = {
  BertProcessing: readAround,
  ByteLevel: (): readonly Surround[] => [], // moves offsets only
  RobertaProcessing: readAround,
  TemplateProcessing: readTemplate,
};

/**
 * The ids around one text for a tokenizer.json's `post_processor`, later processors further out; undefined if
 * it has none.
 */
export function readPostProcessor(
  step: Omit<Step, "value"> & { readonly value: unknown },
): Surround | undefined {
  if (step.value === null || step.value === undefined) return undefined;
  const surrounds = readSteps<Surround>(readers, "processors", step) ?? [];
  return {
    prefix: surrounds.toReversed().flatMap((surround) => surround.prefix),
    suffix: surrounds.flatMap((surround) => surround.suffix),
  };
}
