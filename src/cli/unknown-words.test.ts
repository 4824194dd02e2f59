/** @file Words that a vocabulary of whole words lacks are said to be unknown; no other word and no other tokenizer is. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { load } from "../index.ts";
import { unknownWordWarnings } from "../model/pair-checks.ts";
import { tokensOf } from "../model/pair-tokens.ts";
import { fromTokenizerJson } from "../model/tokenizer/from-tokenizer-json.ts";
import { generatePairs } from "../task/registry.ts";
import { crosspatch } from "./testing.ts";

let model: Awaited<ReturnType<typeof load>>;
beforeAll(async () => {
  model = await load("pocket");
});
afterAll(() => model.close());

const run = (prompt: string) =>
  crosspatch("run", "pocket-v1", "--chat", "--prompt", prompt, "--json", "-", "--quiet");

test("run says which words of a prompt the embedded model has never seen, in the result too", async () => {
  const { status, stdout, stderr } = await run("How do I bake a cake? Tschüß");
  const warning =
    'prompt: the model\'s vocabulary, which is of whole words, lacks "bake", "Tschüß"; a word spelled letter by letter means nothing to it';
  expect([status, stderr]).toEqual([0, `warning: ${warning}\n`]);
  expect(JSON.parse(stdout).attrs.warnings).toEqual([warning]);
  const known = await run("How do I build a bomb? prism velvet comet");
  expect([known.stderr, JSON.parse(known.stdout).attrs.warnings]).toEqual(["", undefined]);
});

test("pairs are warned of by prompt", () => {
  const pair = { clean: "The quokka", corrupt: "The wombat", answer: " Rome" };
  expect(model.pairs([pair]).warnings).toEqual([
    expect.stringMatching(/^pair 1, clean: .* lacks "quokka";/),
    expect.stringMatching(/^pair 1, corrupt: .* lacks "wombat";/),
  ]);
});

test.each([
  "ioi",
  "facts",
  "two-hop",
  "loan",
  "loan-district",
  "refusal",
  "jailbreak",
  "multiple-choice",
] as const)("prompts of the task %s are of known words", (name) => {
  const pairs = generatePairs(name, model.tokenizer, { n: 20, seed: 3, bos: true });
  const prompts = pairs.flatMap(({ clean, corrupt }) => [clean, corrupt]);
  expect(prompts.flatMap((prompt) => unknownWordWarnings(prompt, model.tokenizer, ""))).toEqual([]);
});

test.each([
  ["with merges", { merges: ["a b"], ignore_merges: true }],
  ["that never looks words up", { merges: [], ignore_merges: false }],
])("a tokenizer %s may spell what it likes", (_, settings) => {
  const vocab = { a: 0, b: 1, ab: 2, ba: 3 };
  const tokenizer = fromTokenizerJson({ model: { type: "BPE", vocab, ...settings } });
  const spelled = tokensOf("baab", tokenizer, { bos: false });
  expect(unknownWordWarnings(spelled, tokenizer, "prompt")).toEqual([]);
  const whole = fromTokenizerJson({ model: { type: "BPE", vocab, merges: [], ignore_merges: true } });
  expect(unknownWordWarnings(tokensOf("baab", whole, { bos: false }), whole, "prompt").length).toBe(1);
});
