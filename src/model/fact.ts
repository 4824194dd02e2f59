/** @file Prompts with a subject and what should follow, for methods that need no second prompt. */
import { z } from "zod";
import { type Fault, refuse } from "../core/errors.ts";
import { type LineKind, type Located, objectParser, readLines } from "./jsonl.ts";
import type { Pair } from "./pair.ts";
import { answerFaults, seamWarnings, unknownWordWarnings } from "./pair-checks.ts";
import { ALTERNATIVES, listOf, MAX_ANSWERS, MAX_PAIRS } from "./pair-spec.ts";
import { continuation, type PromptForm, promptTokens, type Tokens } from "./pair-tokens.ts";
import type { Tokenizer } from "./tokenizer/tokenizer.ts";

/** A prompt as a user gives it; every text counts exactly as typed. */
export interface FactSpec {
  readonly prompt: string;
  /** A part of the prompt; where it occurs more than once, its first occurrence. */
  readonly subject?: string | undefined;
  /** Right after the prompt; the model's own most probable token where not given. */
  readonly answer?: string | readonly string[] | undefined;
  readonly foil?: string | readonly string[] | undefined;
  /** Further parts of the prompt by name: a text, or a text and which of its occurrences is meant, from 1. */
  readonly roles?: Readonly<Record<string, string | readonly [text: string, occurrence: number]>> | undefined;
  /** Name in results; its index where not given. */
  readonly id?: string | undefined;
}

/** One prompt with its tokens. A {@link Pair} is one too: its clean prompt. */
export interface Prompted extends Pick<Pair, "id" | "where" | "clean" | "answers" | "foils"> {
  readonly corrupt?: Tokens | undefined;
}

/** A prompt with the positions of its subject's tokens. */
export interface Fact extends Prompted {
  /** Ascending and adjacent; empty where the spec names no subject. */
  readonly subject: readonly number[];
  /** Positions of the parts that the spec names. */
  readonly roles?: Readonly<Record<string, readonly number[]>> | undefined;
}

const text = z.string().min(1);
const alternatives = z.union([text, z.array(text).min(1).max(MAX_ANSWERS)]);
const schema: z.ZodType<FactSpec> = z.strictObject({
  prompt: text,
  subject: text.optional(),
  answer: alternatives.optional(),
  foil: alternatives.optional(),
  roles: z.record(text, z.union([text, z.tuple([text, z.int().min(1)])])).optional(),
  id: text.optional(),
});

const wantedByKey = {
  prompt: "a non-empty string",
  subject: "a non-empty string",
  answer: ALTERNATIVES,
  foil: ALTERNATIVES,
  roles: "for each name a non-empty string, or a list of it and which of its occurrences is meant, from 1",
  id: "a non-empty string",
} as const;
type ParseFact = LineKind<FactSpec>["parse"];

/** Refuses the name that no schema of objects keeps, nor objects that are copied: it would be dropped without a word. */
function withoutProto(parse: ParseFact): ParseFact {
  return (value, where) => {
    const { spec, faults } = parse(value, where);
    const roles = (value as { readonly roles?: unknown } | null | undefined)?.roles;
    const isNamed = typeof roles === "object" && roles !== null && Object.hasOwn(roles, "__proto__");
    if (!isNamed) return spec === undefined ? { faults } : { spec, faults };
    const fault = { where: `${where}, roles`, found: 'the name "__proto__"', wanted: "another name" };
    return { faults: [...faults, fault] };
  };
}

const parseFact = withoutProto(objectParser(schema, wantedByKey));
const parseFactOrText = withoutProto(objectParser(schema, wantedByKey, { text: "prompt" }));

/**
 * Reads a file of facts: one JSON object a line with the keys of {@link FactSpec}, blank lines skipped.
 * @throws InputError naming every bad line.
 */
export function readFacts(jsonl: string, where: string): Located<FactSpec> {
  const wanted = 'a JSON object such as {"prompt": "…", "subject": "…", "answer": " …"}, one a line';
  return readLines(jsonl, where, { one: "fact", most: MAX_PAIRS, wanted, parse: parseFact });
}

/** {@link readFacts} of a file in which a line may be a mere JSON string as well: a prompt without an answer. */
export function readFactsOrTexts(jsonl: string, where: string): Located<FactSpec> {
  const wanted = 'a JSON string or an object such as {"prompt": "…", "answer": " …"}, one a line';
  return readLines(jsonl, where, { one: "prompt", most: MAX_PAIRS, wanted, parse: parseFactOrText });
}

/**
 * Tokenises and checks facts.
 * @throws InputError naming every key that is none, every subject that its prompt does not hold, answers that cannot be told apart, ids used twice.
 */
export function prepareFacts(
  specs: readonly FactSpec[],
  tokenizer: Tokenizer,
  options: PromptForm & { readonly where?: readonly string[] | undefined } = {},
): { readonly facts: readonly Fact[]; readonly warnings: readonly string[] } {
  const faults: Fault[] = [];
  const warnings: string[] = [];
  const ids = new Set<string>();
  const facts = specs.flatMap((given, index): readonly Fact[] => {
    const where = options.where?.[index] ?? (specs.length === 1 ? "prompt" : `prompt ${index + 1}`);
    const { spec, faults: own } = parseFact(given, where);
    if (spec === undefined) {
      faults.push(...own);
      return [];
    }
    const { tokens: clean, bos } = promptTokens(spec.prompt, tokenizer, options);
    warnings.push(...unknownWordWarnings(clean, tokenizer, where));
    if (clean.ids.length === 0) faults.push({ where, found: "no token", wanted: "a prompt of at least one" });
    const follow = (texts: readonly string[]): Tokens[] =>
      texts.map((follows) => {
        const { tokens, ...seam } = continuation(follows, tokenizer, { prompt: clean, bos });
        warnings.push(...seamWarnings({ where, prompt: clean, text: follows, ...seam }));
        return tokens;
      });
    const answers = follow(listOf(spec.answer));
    const foils = follow(listOf(spec.foil));
    faults.push(...answerFaults(answers, foils, where));
    const id = spec.id ?? String(index);
    if (ids.has(id)) {
      faults.push({
        where: `${where}, id`,
        found: `${JSON.stringify(id)} again`,
        wanted: "an id of its own",
      });
    }
    ids.add(id);
    const subject =
      spec.subject === undefined
        ? []
        : partPositions(clean, { part: spec.subject, occurrence: 1, tokenizer, bos });
    if (spec.subject !== undefined && subject.length === 0) {
      faults.push({
        where: `${where}, subject`,
        found: JSON.stringify(spec.subject),
        wanted: `a part of ${JSON.stringify(spec.prompt)}`,
      });
    }
    const roles: [string, readonly number[]][] = [];
    for (const [name, given] of Object.entries(spec.roles ?? {})) {
      const [part, occurrence] = typeof given === "string" ? ([given, 1] as const) : given;
      const positions = partPositions(clean, { part, occurrence, tokenizer, bos });
      roles.push([name, positions]);
      if (positions.length > 0) continue;
      const found = JSON.stringify(part) + (occurrence === 1 ? "" : `, occurrence ${occurrence}`);
      faults.push({
        where: `${where}, roles.${name}`,
        found,
        wanted: `a part of ${JSON.stringify(spec.prompt)}`,
      });
    }
    return [{ id, where, clean, answers, foils, subject, roles: Object.fromEntries(roles) }];
  });
  if (specs.length === 0) faults.push({ where: "prompts", found: "none", wanted: "at least one" });
  refuse(faults);
  return { facts, warnings };
}

/** Positions of the tokens that hold any character of an occurrence of a part; spaces around it do not count. */
function partPositions(
  { text: prompt, ids }: Tokens,
  {
    part,
    occurrence,
    tokenizer,
    bos,
  }: {
    readonly part: string;
    /** From 1. */
    readonly occurrence: number;
    readonly tokenizer: Tokenizer;
    readonly bos: boolean;
  },
): number[] {
  const bare = part.trim();
  let start = bare === "" ? -1 : prompt.indexOf(bare);
  for (let more = 1; more < occurrence && start >= 0; more++) start = prompt.indexOf(bare, start + 1);
  if (start < 0) return [];
  const special = bos && tokenizer.bosId === ids[0] ? 1 : 0;
  const end = start + bare.length;
  const positions: number[] = [];
  let from = 0;
  for (let position = special; position < ids.length && from < end; position++) {
    const to = tokenizer.decode(ids.slice(special, position + 1)).length;
    if (to > start) positions.push(position);
    from = to;
  }
  return positions;
}

/** Requires a subject of every fact. @throws InputError naming those without. */
export function requireSubjects(facts: readonly Fact[]): void {
  refuse(
    facts
      .filter(({ subject }) => subject.length === 0)
      .map(({ where }) => ({
        where: `${where}, subject`,
        found: "none",
        wanted: "the part of the prompt that is noised",
      })),
  );
}
