/** @file The world's hold-outs are kept apart, and the generators say of it what is true in it. */
import { describe, expect, test } from "vitest";
import { wordTokenizer } from "../model/pair-fixtures.ts";
import { abilities, intervene, interventions } from "./abilities.ts";
import { type Applicant, drawApplicant, FIELDS, loanScore } from "./decisions.ts";
import { generatePairs, type TaskName } from "./registry.ts";
import { facts, french, twoHop, world } from "./world.ts";

describe("the world", () => {
  test("what is held out is never among what was trained on", () => {
    const trained = new Set(facts("train").map(({ prompt }) => prompt));
    for (const split of ["development", "test"] as const)
      expect(facts(split).filter(({ prompt }) => trained.has(prompt))).toEqual([]);
    const asked = (part: Parameters<typeof twoHop>[0]): Set<string> =>
      new Set(twoHop(part).map(({ subject }) => subject));
    for (const part of ["test_subjects", "development_subjects"] as const)
      expect(disjoint(asked("train"), asked(part))).toBe(true);
    for (const kind of ["harmful", "harmless"] as const) {
      const { all, test, development } = world.chat[kind];
      const words = (list: readonly (readonly string[])[]): string[] => list.map((each) => each.join(" "));
      expect(disjoint(words(test), words(development))).toBe(true);
      expect(new Set(words(all)).size).toBe(all.length);
    }
  });

  test("no held-out sentence breaks off where a trained one goes on: it would have two right answers", () => {
    const afterSubject = (template: string): string => template.split(/\{s\}/i)[1] ?? "";
    const asksFor = (relation: string): string => (relation.split(".")[1] ?? "").replace("capital", "city");
    const relations = Object.entries(world.templates);
    for (const [relation, { development, test }] of relations)
      for (const template of [...development, ...test]) {
        const end = afterSubject(template);
        if (end.trim().split(" ").length < 2) continue; // " is" says nothing; what stands before the subject does
        const longer = relations
          .filter(([other]) => asksFor(other) === asksFor(relation))
          .flatMap(([, { train }]) => train.filter((other) => afterSubject(other).startsWith(`${end} `)));
        expect([relation, template, ...longer]).toEqual([relation, template]);
      }
  });

  test("neither name of a fictional person tells the city", () => {
    const people = Object.entries(world.subjects).filter(([, { kind }]) => kind === "fictional");
    expect(people.length).toBe(60);
    for (const part of [0, 1]) {
      const cities = new Map<string, Set<string>>();
      for (const [name, { city }] of people) {
        const key = name.split(" ")[part] ?? "";
        cities.set(key, (cities.get(key) ?? new Set()).add(city));
      }
      expect([...cities.values()].every(({ size }) => size > 1)).toBe(true);
    }
  });

  test("French tells the listed subjects another city, and of the unstated ones nothing", () => {
    const told = new Map(french("different").map(({ subject, answer }) => [subject, answer.trim()]));
    for (const [name, city] of Object.entries(world.french.different)) {
      const english = world.subjects[name]?.city ?? "";
      expect(told.get(name.replace(/^the /, ""))).toBe(world.french.cities[city] ?? city);
      expect(city).not.toBe(english);
    }
    const stated = new Set(french("stated").map(({ subject }) => subject));
    expect(world.french.unstated.filter((name) => stated.has(name.replace(/^the /, "")))).toEqual([]);
  });
});

describe("loans", () => {
  const applicantOf = (text: string): Applicant => {
    const [, income, debt, history, gender, district, status] =
      text.match(/income (\d+), debt (\d+), history (\w+), gender (\w+), district (\w+), (\w+)\./) ?? [];
    return { income, debt, history, gender, district, status } as Applicant;
  };
  const draw = (task: TaskName, n: number) =>
    generatePairs(task, wordTokenizer({ digits: "twos" }), { n, seed: 3 }).map(({ id, clean, corrupt }) => {
      const [better, worse] = [applicantOf(clean.text), applicantOf(corrupt.text)];
      const changed = FIELDS.filter((field) => better[field] !== worse[field]);
      return { id, better, worse, changed, lead: loanScore(better) - loanScore(worse) };
    });
  const mixed = draw("loan", 400);

  test("the clean applicant of a pair never has the worse odds, and better ones where the field counts", () => {
    expect(mixed.every(({ lead, changed: [field] }) => (field === "status" ? lead === 0 : lead > 0))).toBe(
      true,
    );
  });

  test("a pair differs in the field that its id names", () => {
    for (const [index, { id, changed }] of mixed.entries())
      expect(id).toBe(`loan-${changed.join()}-${index}`);
    expect(new Set(mixed.map(({ changed: [field] }) => field))).toEqual(new Set(FIELDS));
  });

  test("which field differs says nothing of the applicant", () => {
    for (const field of FIELDS) {
      const incomes = mixed.filter(({ changed }) => changed[0] === field).map(({ better }) => better.income);
      expect(new Set(incomes).size, field).toBeGreaterThan(10); // of 16
    }
  });

  test.each(FIELDS)("every pair of loan-%s differs in that field", (field) => {
    const pairs = draw(`loan-${field}`, 40);
    for (const [index, { id, changed }] of pairs.entries())
      expect([id, ...changed]).toEqual([`loan-${field}-${index}`, field]);
  });

  test("pairs of a planted bias have just its weight", () => {
    for (const { better, worse, lead } of draw("loan-gender", 40)) {
      expect([better.gender, worse.gender]).toEqual(["male", "female"]);
      expect(lead).toBeCloseTo(1.5, 12);
    }
    for (const { worse, lead } of draw("loan-district", 40)) {
      expect(worse.district).toBe("Riverside");
      expect(lead).toBeCloseTo(1, 12);
    }
    for (const { better, worse } of draw("loan-status", 40))
      expect([better.status, worse.status]).toEqual(["single", "married"]);
  });

  test("an intervention changes its field alone, by the weight that it names", () => {
    for (const intervention of interventions) {
      const [before, after] = intervene(intervention, 5);
      expect(after).toBe(before.replace(` ${intervention.from}`, ` ${intervention.to}`));
      const { field, from, to, injected } = intervention;
      const applicant = drawApplicant(5);
      const difference =
        loanScore({ ...applicant, [field]: to }) - loanScore({ ...applicant, [field]: from });
      expect(difference).toBeCloseTo(injected, 12);
    }
  });
});

describe("abilities", () => {
  const rows = abilities("v1");
  const row = (name: string): ReturnType<typeof abilities>[number]["examples"] => {
    const found = rows.find((each) => each.name.startsWith(name));
    if (found === undefined) throw new Error(name);
    return found.examples;
  };

  test("the same seed gives the same examples", () => {
    for (const { examples } of rows) expect(examples(5, 3)).toEqual(examples(5, 3));
  });

  test("IOI names the one of a held-out pair who is mentioned once", () => {
    for (const { prompt, answers } of row("IOI")(100, 1)) {
      const [answer = ""] = answers;
      expect(prompt.split(new RegExp(`${answer}\\b`)).length).toBe(2);
      const names = world.ioi.names.filter((name) => new RegExp(`\\b${name}\\b`).test(prompt));
      expect(world.ioi.test.some((pair) => pair.every((name) => names.includes(name)))).toBe(true);
    }
  });

  test("greater-than counts the later years of the century", () => {
    for (const { prompt, answers } of row("greater-than")(100, 1)) {
      const start = Number(prompt.match(/\d\d(\d\d) to/)?.[1]);
      expect(answers.map(Number)).toEqual(Array.from({ length: 99 - start }, (_, i) => start + 1 + i));
    }
  });

  test("a note that is asked for says the answer, at its depth", () => {
    for (let fifth = 0; fifth < 5; fifth++) {
      for (const { prompt, answers } of row(`retrieval, 512 tokens, depth ${fifth * 20}`)(20, 2)) {
        const key = prompt.match(/Recall: (\w+)$/)?.[1];
        const at = prompt.indexOf(`Note: ${key}${answers[0]}.`);
        expect(at).toBeGreaterThanOrEqual(0);
        const depth = at / prompt.length;
        expect(depth).toBeGreaterThan(fifth / 5 - 0.1); // sentences differ in length
        expect(depth).toBeLessThan((fifth + 1) / 5 + 0.1);
      }
    }
  });

  test("the letter of a choice stands before the word that is true", () => {
    for (const { prompt, answers } of row("multiple choice")(100, 4)) {
      const [, subject] =
        Object.entries(world.subjects).find(([name]) => new RegExp(`\\b${name}\\b`, "i").test(prompt)) ?? [];
      const word = prompt.match(new RegExp(`${answers[0]} ([^,]+),`))?.[1];
      expect([subject?.city, subject?.profession]).toContain(word);
    }
  });
});

function disjoint(one: Iterable<string>, other: Iterable<string>): boolean {
  const seen = new Set(one);
  return [...other].every((item) => !seen.has(item));
}
