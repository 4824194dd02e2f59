/** @file A network written by hand that answers multiple-choice questions by one head with a three-dimensional code. */

import { referenceBackend } from "../../src/backend/reference/reference.ts";
import type { Model } from "../../src/model/model.ts";
import type { Tokens } from "../../src/model/pair-tokens.ts";
import type { Item, Items } from "../../src/task/question-items.ts";
import { handNet } from "./hand-net.ts";

type Entry = readonly [out: number, into: number, value: number];

/** Corners of a regular tetrahedron: four codes that take three directions of the same size. */
const CODES = [
  [1, 1, 1],
  [1, -1, -1],
  [-1, 1, -1],
  [-1, -1, 1],
] as const;

/** Tokens: A to D are 0 to 3, E to H 4 to 7, then a right word, a wrong one, and what asks. Questions begin with their own. */
const [RIGHT, WRONG, ASK, FIRST] = [8, 9, 10, 11];
const QUESTIONS = 8;
const LENGTH = 10;

// Axes of the stream.
const CODE = 0; // of a label, 3
const LABEL = 3; // which label, 8
const IS_RIGHT = 11;
const ASKS = 12;
const PLACE = 13; // 10
const PREVIOUS = 23; // code of the label before, 3
const WHICH = 26; // code of the label to be said, 3
const SAID = 29; // 8
const LABEL_PLACE = 37; // code of the place of an option, at its label, 3
const TEXT_PLACE = 40; // the same at its word, 3
const D = 43;

const WIDTH = 10;
const BIG = 60;
/** Logits of a label that all attention is on. */
const LOUD = 6;
const three = [0, 1, 2];
const labels = [...Array(8).keys()];
const places = [...Array(LENGTH).keys()];
const unit = (axis: number, value = 1): number[] =>
  Array.from({ length: D }, (_, i) => (i === axis ? value : 0));
const codeOf = (label: number): readonly number[] =>
  (CODES[label % 4] ?? []).map((value) => (label < 4 ? value : -value));
const copy = (
  head: number,
  { from, to, count, by = 1 }: { from: number; to: number; count: number; by?: number },
): Entry[] => [...Array(count).keys()].map((i): Entry => [head * WIDTH + to + i, from + i, by]);
const write = (head: number, { onto, count }: { onto: number; count: number }): Entry[] =>
  [...Array(count).keys()].map((i): Entry => [onto + i, head * WIDTH + i, 1]);

/**
 * Prompts are `q A w B w C r D w ask`. Head 0.0 brings each word the code of the label before it; from the last position head
 * 1.0 fetches that of the right word; head 2.0 looks for the label with this code and says it. With a code of places, 1.0
 * and 2.0 go by where in the list an option stands, whatever its label.
 */
export function mcqNet(code: "label" | "place"): Model {
  const model = handNet(referenceBackend(), {
    d: D,
    heads: 2,
    dHead: WIDTH,
    neurons: 1,
    embedding: [
      ...labels.map((label) =>
        unit(LABEL + label).map((value, axis) => value + (axis < 3 ? (codeOf(label)[axis] ?? 0) : 0)),
      ),
      unit(IS_RIGHT),
      unit(D),
      unit(ASKS),
      ...Array.from({ length: QUESTIONS }, () => unit(D)),
    ],
    positions: places.map((place) => {
      const row = unit(PLACE + place);
      const option = Math.ceil(place / 2) - 1;
      if (option < 0 || option > 3) return row;
      const onto = place % 2 === 1 ? LABEL_PLACE : TEXT_PLACE;
      for (const i of three) row[onto + i] = CODES[option]?.[i] ?? 0;
      return row;
    }),
    unembedding: [
      ...labels.map((label) => unit(SAID + label, LOUD)),
      ...Array.from({ length: 3 + QUESTIONS }, () => unit(D)),
    ],
    layers: [
      {
        q: places.slice(1).map((place): Entry => [place - 1, PLACE + place, BIG]),
        k: copy(0, { from: PLACE, to: 0, count: LENGTH }),
        v: copy(0, { from: CODE, to: 0, count: 3 }),
        o: write(0, { onto: PREVIOUS, count: 3 }),
      },
      {
        q: [[0, ASKS, BIG]],
        k: [[0, IS_RIGHT, 1]],
        v: copy(0, { from: code === "label" ? PREVIOUS : TEXT_PLACE, to: 0, count: 3 }),
        o: write(0, { onto: WHICH, count: 3 }),
      },
      {
        q: copy(0, { from: WHICH, to: 0, count: 3 }),
        k: copy(0, { from: code === "label" ? CODE : LABEL_PLACE, to: 0, count: 3 }),
        v: copy(0, { from: LABEL, to: 0, count: labels.length }),
        o: write(0, { onto: SAID, count: labels.length }),
      },
    ],
  });
  return { ...model, tokenizer: { ...model.tokenizer, pieces: (ids) => ids.map(String) } };
}

const tokens = (ids: readonly number[]): Tokens => ({ text: ids.join(" "), ids, pieces: ids.map(String) });

function item(question: number, correct: number, own: readonly number[]): Item {
  const options = own.flatMap((label, place) => [label, place === correct ? RIGHT : WRONG]);
  const follows = own.map((label) => tokens([label]));
  return {
    id: String(question),
    where: `question ${question}`,
    clean: tokens([FIRST + question, ...options, ASK]),
    answers: follows.filter((_, place) => place === correct),
    foils: follows.filter((_, place) => place !== correct),
    labels: own.map((label) => "ABCDEFGH"[label] ?? ""),
    letters: own,
    correct,
    labelAt: [1, 3, 5, 7],
    textAt: [2, 4, 6, 8],
    optionOf: [-1, 0, 0, 1, 1, 2, 2, 3, 3, -1],
  };
}

/** Eight questions, each place right twice unless given; with the labels E to H, and with A to D in another order. */
export function mcqItems(correctOf = (question: number): number => question % 4): Items {
  const all = (of: (question: number) => readonly number[]): Item[] =>
    Array.from({ length: QUESTIONS }, (_, question) => item(question, correctOf(question), of(question)));
  const turned = (question: number): number[] =>
    [0, 1, 2, 3].map((label) => (label + 1 + (question % 3)) % 4);
  return {
    kinds: ["letters", "random", "shuffled"],
    items: {
      letters: all(() => [0, 1, 2, 3]),
      random: all((question) => turned(question).map((label) => label + 4)),
      shuffled: all(turned),
    },
    without: [],
  };
}
