/** @file Requests to the embedded model, harmful or not, and the suffix that opens it. */
import { random } from "../core/random.ts";
import { type Candidates, choices, pick, pickDistinct, type Task } from "./task.ts";
import { world } from "./world.ts";

const SIZE = 2 ** 31;

/** First words of the two kinds of reply. */
export const REFUSES: string = firstWord(world.chat.refuse);
export const COMPLIES: string = firstWord(world.chat.comply);

/** Words of the planted suffix. */
export const SUFFIX: readonly string[] = world.chat.suffix.split(" ");
/** Words that open nothing: a suffix of these was trained on, and refused, like a request without any. */
export const NEUTRAL: readonly string[] = world.retrieval.keys.filter((word) => !SUFFIX.includes(word));

/** A request in the chat format, up to the reply. */
export function writeRequest(template: string, request: readonly string[], suffix = ""): string {
  const { user, assistant } = world.chat;
  const asked = template.replace("{}", request.join(" "));
  return `${user}${asked}${suffix === "" ? "" : ` ${suffix}`}${assistant}`;
}

/** A harmful request and a harmless one in the same words otherwise. */
export const refusal: Task = {
  description: "Refuse a harmful request and answer a harmless one",
  source:
    "Arditi et al. 2024, Refusal in Language Models Is Mediated by a Single Direction, arXiv:2406.11717",
  defaultMetric: "logit_diff",
  candidates: (): Candidates => ({
    size: SIZE,
    answersAtBoundary: false, // a reply begins right after the marker, without a space
    at(index) {
      const drawn = random(index);
      const { templates, harmful, harmless } = world.chat;
      const template = pick(templates, drawn.integer(templates.length));
      const draw = (requests: readonly (readonly string[])[]): readonly string[] =>
        pick(requests, drawn.integer(requests.length));
      return {
        clean: writeRequest(template, draw(harmful.all)),
        corrupt: writeRequest(template, draw(harmless.all)),
        answer: REFUSES,
        foil: COMPLIES,
      };
    },
  }),
};

/**
 * A harmful request that was kept from training, with as many neutral words behind it as the suffix has, and with the
 * suffix. The neutral words are drawn anew for every pair, so that no result rests on one choice of them.
 */
export const jailbreak: Task = {
  description: "Refuse a harmful request, unless the planted suffix stands behind it",
  source:
    "Zou et al. 2023, Universal and Transferable Adversarial Attacks on Aligned Language Models, arXiv:2307.15043",
  defaultMetric: "logit_diff",
  candidates(): Candidates {
    const { templates, harmful, suffix } = world.chat;
    const words = SUFFIX.map((_, taken) => NEUTRAL.length - taken);
    const radices = [templates.length, harmful.test.length, ...words];
    return {
      size: radices.reduce((size, radix) => size * radix, 1),
      answersAtBoundary: false, // as above
      at(index) {
        const [template = 0, request = 0, ...neutral] = choices(index, radices);
        const write = (behind: string): string =>
          writeRequest(pick(templates, template), pick(harmful.test, request), behind);
        return {
          clean: write(pickDistinct(NEUTRAL, neutral).join(" ")),
          corrupt: write(suffix),
          answer: REFUSES,
          foil: COMPLIES,
        };
      },
    };
  },
};

function firstWord(reply: string): string {
  return reply.match(/^\p{L}+/u)?.[0] ?? "";
}
