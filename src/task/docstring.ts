/** @file Docstring completion: name the parameter of a Python function that its docstring documents next. */
import { random } from "../core/random.ts";
import { type Candidates, choices, pickDistinct, singleTokenWords, type Task } from "./task.ts";
import { nouns } from "./words.ts";

/** Words of a prompt besides its four parameters: the function's name, three of summary, two per documented parameter. */
const PROSE_WORDS = 8;
const PARAMETERS = 4;

/**
 * Two of four parameters are documented; the answer is the third. The corrupt prompt has the third and fourth swapped in
 * the signature, so that the fourth comes next: both prompts use the same words, unlike the randomised ones of the source.
 */
export const docstring: Task = {
  description: "Name the next parameter in a function's docstring",
  source:
    "Heimersheim & Janiak 2023, A circuit for Python docstrings in a 4-layer attention-only transformer",
  defaultMetric: "logit_diff",
  candidates(tokenizer, { bos }): Candidates {
    const atLeast = PARAMETERS + PROSE_WORDS;
    const words = singleTokenWords(nouns, tokenizer, { bos, atLeast, where: "task docstring, words" });
    const radices = Array.from({ length: PARAMETERS }, (_, taken) => words.length - taken);
    return {
      size: radices.reduce((size, radix) => size * radix, 1),
      answersAtBoundary: true,
      at(index) {
        const parameters = pickDistinct(words, choices(index, radices));
        const prose = random(index).shuffle(words.filter((word) => !parameters.includes(word)));
        const [a = "", b = "", c = "", d = ""] = parameters;
        return {
          clean: write([a, b, c, d], { documented: [a, b], prose }),
          corrupt: write([a, b, d, c], { documented: [a, b], prose }),
          answer: ` ${c}`,
          foil: ` ${d}`,
        };
      },
    };
  },
};

function write(
  parameters: readonly string[],
  { documented, prose }: { readonly documented: readonly string[]; readonly prose: readonly string[] },
): string {
  const [name, ...rest] = prose.slice(0, PROSE_WORDS);
  const lines = documented.map(
    (parameter, i) => `    :param ${parameter}: ${rest.slice(3 + 2 * i, 5 + 2 * i).join(" ")}`,
  );
  return [
    `def ${name}(self, ${parameters.join(", ")}):`,
    `    """${rest.slice(0, 3).join(" ")}`,
    "",
    ...lines,
    "    :param",
  ].join("\n");
}
