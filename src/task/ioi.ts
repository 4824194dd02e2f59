/** @file Indirect object identification: "When Mary and John went to the store, John gave a drink to" → " Mary". */
import { type Candidates, choices, pick, pickDistinct, singleTokenWords, type Task } from "./task.ts";
import { givenNames, objects, places } from "./words.ts";

/** A sentence with both names, the second mention of the subject, a place and an object; it ends before the indirect object. */
interface Slots {
  readonly first: string;
  readonly second: string;
  readonly subject: string;
  readonly place: string;
  readonly object: string;
}

const templates: readonly ((slots: Slots) => string)[] = [
  (s) => `When ${s.first} and ${s.second} went to the ${s.place}, ${s.subject} gave a ${s.object} to`,
  (s) => `While ${s.first} and ${s.second} were at the ${s.place}, ${s.subject} handed a ${s.object} to`,
  (s) => `After ${s.first} and ${s.second} met at the ${s.place}, ${s.subject} offered a ${s.object} to`,
  (s) => `Then ${s.first} and ${s.second} walked to the ${s.place}, and ${s.subject} passed a ${s.object} to`,
  (s) =>
    `On the way to the ${s.place}, ${s.first} and ${s.second} stopped, and ${s.subject} showed a ${s.object} to`,
  (s) =>
    `Since ${s.first} and ${s.second} both worked at the ${s.place}, ${s.subject} brought a ${s.object} to`,
  (s) =>
    `Later ${s.first} and ${s.second} arrived at the ${s.place}, where ${s.subject} lent a ${s.object} to`,
  (s) =>
    `The friends ${s.first} and ${s.second} sat near the ${s.place}, and ${s.subject} threw a ${s.object} to`,
  (s) => `Once ${s.first} and ${s.second} had left the ${s.place}, ${s.subject} sent a ${s.object} to`,
  (s) => `Before ${s.first} and ${s.second} drove to the ${s.place}, ${s.subject} sold a ${s.object} to`,
  (s) =>
    `Yesterday ${s.first} and ${s.second} cleaned the ${s.place}, and ${s.subject} returned a ${s.object} to`,
  (s) =>
    `At the ${s.place}, ${s.first} and ${s.second} said goodbye, and ${s.subject} promised a ${s.object} to`,
];

/**
 * Both orders of the names, equally often: the indirect object first (ABBA) or the subject first (BABA). The corrupt
 * prompt has the other name as second mention, which swaps the roles and so answer and foil.
 */
export const ioi: Task = {
  description: "Name the indirect object: the person of two who is not mentioned twice",
  source: "Wang et al. 2022, Interpretability in the Wild, arXiv:2211.00593",
  defaultMetric: "logit_diff",
  candidates(tokenizer, { bos }): Candidates {
    const names = singleTokenWords(givenNames, tokenizer, { bos, atLeast: 2, where: "task ioi, names" });
    const radices = [2, templates.length, names.length, names.length - 1, places.length, objects.length];
    return {
      size: radices.reduce((size, radix) => size * radix, 1),
      answersAtBoundary: true,
      at(index) {
        const [order = 0, template = 0, io = 0, s = 0, place = 0, object = 0] = choices(index, radices);
        const [indirect = "", subject = ""] = pickDistinct(names, [io, s]);
        const [first, second] = order === 0 ? [indirect, subject] : [subject, indirect];
        const write = (mentioned: string): string =>
          pick(
            templates,
            template,
          )({
            first,
            second,
            subject: mentioned,
            place: pick(places, place),
            object: pick(objects, object),
          });
        return {
          clean: write(subject),
          corrupt: write(indirect),
          answer: ` ${indirect}`,
          foil: ` ${subject}`,
        };
      },
    };
  },
};
