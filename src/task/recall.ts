/** @file What stands in the prompt itself: a sequence that repeats, and values noted under keys. */
import { random } from "../core/random.ts";
import { type Candidates, choices, pick, pickDistinct, type Task } from "./task.ts";
import { world } from "./world.ts";

/** Words of one period, one of which is to be continued. */
const PERIOD = 8;
const NOTES = 6;
/** Prompts per task: each is drawn from its index. */
const SIZE = 2 ** 31;

/** Words twice over; the corrupt prompt has another word where the answer stood the first time. */
export const induction: Task = {
  description: "Continue a sequence of words that repeats",
  source: "Olsson et al. 2022, In-context Learning and Induction Heads, arXiv:2209.11895",
  defaultMetric: "logit_diff",
  candidates: (): Candidates => ({
    size: SIZE,
    answersAtBoundary: true,
    at(index) {
      const drawn = random(index);
      const words = drawn
        .shuffle([...world.retrieval.keys, ...world.retrieval.values, ...world.ioi.names])
        .slice(0, PERIOD + 1);
      const period = words.slice(0, PERIOD);
      const foil = pick(words, PERIOD);
      const at = 1 + drawn.integer(PERIOD - 1);
      // Every word with its space, the first as well: words are known in this form alone.
      const twice = (first: readonly string[]): string =>
        [...first, ...period.slice(0, at)].map((word) => ` ${word}`).join("");
      return {
        clean: twice(period),
        corrupt: twice(period.with(at, foil)),
        answer: ` ${pick(period, at)}`,
        foil: ` ${foil}`,
      };
    },
  }),
};

/** Values noted under keys, one of which is asked for; the corrupt prompt asks for another. */
export const retrieval: Task = {
  description: "Find the value that was noted under a key",
  source: "Feng & Steinhardt 2024, How do Language Models Bind Entities in Context?, arXiv:2310.17191",
  defaultMetric: "logit_diff",
  candidates: (): Candidates => ({
    size: SIZE,
    answersAtBoundary: true,
    at(index) {
      const drawn = random(index);
      const keys = drawn.shuffle([...world.retrieval.keys]).slice(0, NOTES);
      const values = drawn.shuffle([...world.retrieval.values]).slice(0, NOTES);
      const [one = 0, two = 0] = choices(index, [NOTES, NOTES - 1]);
      const [asked = 0, other = 0] = pickDistinct([...keys.keys()], [one, two]);
      const notes = keys.map((key, i) => write(world.retrieval.note, { key, value: pick(values, i) }));
      const ask = (which: number): string =>
        [...notes, write(world.retrieval.recall, { key: pick(keys, which) })].join(" ");
      return {
        clean: ask(asked),
        corrupt: ask(other),
        answer: ` ${pick(values, asked)}`,
        foil: ` ${pick(values, other)}`,
      };
    },
  }),
};

/** A template with its slots filled. */
export function write(template: string, slots: Readonly<Record<string, string | number>>): string {
  return template.replace(/\{(\w+)\}/g, (slot, name: string) => String(slots[name] ?? slot));
}
