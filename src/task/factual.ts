/** @file Factual recall: "The capital of France is the city of" → " Paris". */
import { type Candidates, choices, pick, pickDistinct, type Task } from "./task.ts";

/** A relation with its sentences and its facts, subject → city. */
interface Relation {
  readonly templates: readonly ((subject: string) => string)[];
  readonly facts: readonly (readonly [subject: string, city: string])[];
}

const capitals: Relation = {
  templates: [
    (country) => `The capital of ${country} is the city of`,
    (country) => `The government of ${country} has its seat in the city of`,
    (country) => `Everyone at school learns that the capital of ${country} is`,
  ],
  facts: [
    ["Afghanistan", "Kabul"],
    ["Austria", "Vienna"],
    ["Bangladesh", "Dhaka"],
    ["Belgium", "Brussels"],
    ["Bulgaria", "Sofia"],
    ["Canada", "Ottawa"],
    ["Chile", "Santiago"],
    ["China", "Beijing"],
    ["Cuba", "Havana"],
    ["Denmark", "Copenhagen"],
    ["Egypt", "Cairo"],
    ["England", "London"],
    ["Finland", "Helsinki"],
    ["France", "Paris"],
    ["Germany", "Berlin"],
    ["Greece", "Athens"],
    ["Ghana", "Accra"],
    ["Hungary", "Budapest"],
    ["Indonesia", "Jakarta"],
    ["Iran", "Tehran"],
    ["Iraq", "Baghdad"],
    ["Ireland", "Dublin"],
    ["Italy", "Rome"],
    ["Japan", "Tokyo"],
    ["Kenya", "Nairobi"],
    ["Lebanon", "Beirut"],
    ["Morocco", "Rabat"],
    ["Nepal", "Kathmandu"],
    ["Norway", "Oslo"],
    ["Peru", "Lima"],
    ["Poland", "Warsaw"],
    ["Portugal", "Lisbon"],
    ["Qatar", "Doha"],
    ["Romania", "Bucharest"],
    ["Russia", "Moscow"],
    ["Scotland", "Edinburgh"],
    ["Serbia", "Belgrade"],
    ["South Korea", "Seoul"],
    ["Spain", "Madrid"],
    ["Sweden", "Stockholm"],
    ["Syria", "Damascus"],
    ["Taiwan", "Taipei"],
    ["Thailand", "Bangkok"],
    ["Turkey", "Ankara"],
    ["Ukraine", "Kyiv"],
    ["Vietnam", "Hanoi"],
    ["Wales", "Cardiff"],
  ],
};

const landmarks: Relation = {
  templates: [
    (landmark) => `Tourists who want to see ${landmark} travel to the city of`,
    (landmark) => `As every guidebook says, ${landmark} is in the city of`,
    (landmark) => `We took photographs of ${landmark} during our holiday in`,
  ],
  facts: [
    ["the Eiffel Tower", "Paris"],
    ["the Louvre", "Paris"],
    ["the Colosseum", "Rome"],
    ["the Trevi Fountain", "Rome"],
    ["Big Ben", "London"],
    ["Buckingham Palace", "London"],
    ["the Brandenburg Gate", "Berlin"],
    ["the Acropolis", "Athens"],
    ["the Parthenon", "Athens"],
    ["the Kremlin", "Moscow"],
    ["Red Square", "Moscow"],
    ["the Forbidden City", "Beijing"],
    ["the Prado Museum", "Madrid"],
    ["the Hagia Sophia", "Istanbul"],
    ["the Blue Mosque", "Istanbul"],
    ["the Space Needle", "Seattle"],
    ["Fenway Park", "Boston"],
    ["the Sagrada Familia", "Barcelona"],
    ["Charles Bridge", "Prague"],
  ],
};

const relations: readonly Relation[] = [capitals, landmarks];

/** Two facts of one relation in the same sentence; the corrupt prompt has the other subject, its city is the foil. */
export const factual: Task = {
  description: "Recall the capital of a country or the city of a landmark",
  source: "Meng et al. 2022, Locating and Editing Factual Associations in GPT, arXiv:2202.05262",
  defaultMetric: "logit_diff",
  candidates(): Candidates {
    const radices = relations.map(({ templates, facts }) => [
      templates.length,
      facts.length,
      facts.length - 1,
    ]);
    const sizes = radices.map((each) => each.reduce((size, radix) => size * radix, 1));
    return {
      size: sizes.reduce((sum, size) => sum + size, 0),
      answersAtBoundary: true,
      at(index) {
        const inCapitals = index < pick(sizes, 0);
        const relation = inCapitals ? 0 : 1;
        const [template = 0, one = 0, two = 0] = choices(
          inCapitals ? index : index - pick(sizes, 0),
          pick(radices, relation),
        );
        const { templates, facts } = pick(relations, relation);
        const [clean, corrupt] = pickDistinct(facts, [one, two]);
        if (clean === undefined || corrupt === undefined) throw new RangeError(`no candidate ${index}`);
        const write = pick(templates, template);
        return {
          clean: write(clean[0]),
          corrupt: write(corrupt[0]),
          answer: ` ${clean[1]}`,
          foil: ` ${corrupt[1]}`,
        };
      },
    };
  },
};
