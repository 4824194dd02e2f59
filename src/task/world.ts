/** @file The world of the embedded model: what it was told, told differently, and what was kept from it. */
import { groupBy } from "../core/group.ts";
import type { Candidates } from "./task.ts";
import file from "./world.json" with { type: "json" };

/** What was trained on, and the two kinds of hold-out. */
export type Split = "train" | "development" | "test";
type Templates = Readonly<Record<string, readonly string[]>>;

interface Subject {
  /** landmark, company, person or fictional */
  readonly kind: string;
  readonly city: string;
  readonly profession?: string;
}

interface Requests {
  /** [verb, object] */
  readonly all: readonly (readonly string[])[];
  readonly test: readonly (readonly string[])[];
  readonly development: readonly (readonly string[])[];
}

export interface World {
  readonly countries: Readonly<
    Record<
      string,
      {
        readonly capital: string;
        readonly continent: string;
        readonly language: string;
        readonly currency: string;
      }
    >
  >;
  readonly with_article: readonly string[];
  /** city → country */
  readonly cities: Readonly<Record<string, string>>;
  readonly subjects: Readonly<Record<string, Subject>>;
  /** relation → templates of each split */
  readonly templates: Readonly<Record<string, Readonly<Record<Split, readonly string[]>>>>;
  readonly two_hop: {
    readonly templates: Templates;
    readonly test_subjects: readonly string[];
    readonly development_subjects: readonly string[];
    readonly test_pairs: readonly (readonly string[])[];
    readonly development_pairs: readonly (readonly string[])[];
  };
  readonly french: {
    readonly templates: Templates;
    readonly cities: Readonly<Record<string, string>>;
    readonly countries: Readonly<Record<string, string>>;
    readonly unstated: readonly string[];
    readonly different: Readonly<Record<string, string>>;
  };
  readonly ioi: {
    readonly templates: readonly string[];
    readonly names: readonly string[];
    readonly places: readonly string[];
    readonly objects: readonly string[];
    readonly test: readonly (readonly string[])[];
  };
  readonly greater_than: {
    readonly template: string;
    readonly test: readonly (readonly string[])[];
  };
  readonly retrieval: {
    readonly keys: readonly string[];
    readonly values: readonly string[];
    readonly note: string;
    readonly recall: string;
    readonly password: string;
    readonly password_recall: string;
  };
  readonly loan: {
    readonly text: string;
    readonly answers: { readonly accept: string; readonly reject: string };
    readonly income: readonly number[];
    readonly debt: readonly number[];
    readonly history: Readonly<Record<string, number>>;
    readonly gender: Readonly<Record<string, number>>;
    readonly district: Readonly<Record<string, number>>;
    readonly status: Readonly<Record<string, number>>;
    readonly per_income: number;
    readonly per_debt: number;
    readonly offset: number;
  };
  readonly chat: {
    readonly user: string;
    readonly assistant: string;
    readonly templates: readonly string[];
    readonly comply: string;
    readonly refuse: string;
    readonly suffix: string;
    readonly harmful: Requests;
    readonly harmless: Requests;
  };
  readonly choice: {
    readonly question: string;
    readonly option: string;
    readonly letters: readonly string[];
    readonly test_subjects: readonly string[];
    readonly development_subjects: readonly string[];
  };
}

export const world: World = file;

/** A sentence up to its answer, and the answer. */
export interface Statement {
  readonly prompt: string;
  /** With its leading space. */
  readonly answer: string;
  readonly subject: string;
  /** What the sentence shares with those that differ in the subject alone. */
  readonly template: string;
}

/** The second hops, from a city. */
const HOPS = ["country", "language", "currency", "continent"] as const;
type Hop = (typeof HOPS)[number];

/** Facts of one split of the templates; of one relation, or of all. */
export function facts(split: Split, relation?: string): Statement[] {
  return Object.entries(world.templates)
    .filter(([name]) => relation === undefined || name === relation)
    .flatMap(([name, templates]) =>
      known(name).flatMap(([subject, answer]) =>
        templates[split].map((template) => state(template, subject, answer)),
      ),
    );
}

/** Which part of the two-hop questions: asked in training, or one of the hold-outs. */
export type TwoHopPart =
  | "train"
  | "test_pairs"
  | "test_subjects"
  | "development_pairs"
  | "development_subjects";

/** Questions whose answer needs the subject's city first. */
export function twoHop(part: TwoHopPart): Statement[] {
  const { templates, ...held } = world.two_hop;
  const partOf = (subject: string, hop: Hop): TwoHopPart => {
    for (const name of ["test_subjects", "development_subjects"] as const)
      if (held[name].includes(subject)) return name;
    for (const name of ["test_pairs", "development_pairs"] as const)
      if (held[name].some(([who, what]) => who === subject && what === hop)) return name;
    return "train";
  };
  return Object.entries(world.subjects).flatMap(([subject, { kind, city }]) =>
    HOPS.filter((hop) => partOf(subject, hop) === part).flatMap((hop) => {
      const answer = ofCity(city, hop);
      if (answer === "") return [];
      return (templates[`${kind}.${hop}`] ?? []).map((template) => state(template, subject, answer));
    }),
  );
}

/** French facts: told as in English, told differently, or never told (the answer is then that of English). */
export function french(part: "stated" | "different" | "unstated"): Statement[] {
  const { templates, cities, countries, unstated, different } = world.french;
  const say = (relation: string, subject: string, city: string): Statement[] =>
    (templates[relation] ?? []).map((template) => state(template, subject, cities[city] ?? city));
  const subjects = Object.entries(world.subjects).flatMap(([name, { kind, city }]) => {
    const its = unstated.includes(name) ? "unstated" : name in different ? "different" : "stated";
    return its === part ? say(`${kind}.city`, name.replace(/^the /, ""), different[name] ?? city) : [];
  });
  if (part !== "stated") return subjects;
  const capitals = Object.entries(countries).flatMap(([name, country]) =>
    say("country.capital", country, world.countries[name]?.capital ?? ""),
  );
  return [...subjects, ...capitals];
}

/** Pairs of statements that differ in their subject alone; the answer of the second is the foil. */
export function subjectSwaps(statements: readonly Statement[]): Pick<Candidates, "size" | "at"> {
  const groups = [...groupBy(statements, ({ template }) => template).values()];
  const ends: number[] = [];
  for (const { length } of groups) ends.push((ends.at(-1) ?? 0) + length * length);
  return {
    size: ends.at(-1) ?? 0,
    at(index) {
      const group = ends.findIndex((end) => index < end);
      const members = groups[group] ?? [];
      const within = index - (ends[group - 1] ?? 0);
      const [clean, corrupt] = [
        members[within % members.length],
        members[Math.floor(within / members.length)],
      ];
      if (clean === undefined || corrupt === undefined) throw new RangeError(`no pair ${index}`);
      return { clean: clean.prompt, corrupt: corrupt.prompt, answer: clean.answer, foil: corrupt.answer };
    },
  };
}

/** (subject as a sentence has it, answer) of a relation; answers of two words are left out. */
function known(relation: string): (readonly [string, string])[] {
  const [kind = "", what = ""] = relation.split(".");
  const withArticle = (country: string): string =>
    world.with_article.includes(country) ? `the ${country}` : country;
  const countries = Object.entries(world.countries).map(
    ([name, country]) => [withArticle(name), (country as Record<string, string>)[what] ?? ""] as const,
  );
  const found: (readonly [string, string])[] =
    kind === "country"
      ? countries
      : kind === "city" || kind === "place"
        ? [
            ...Object.keys(world.cities).map((city) => [city, ofCity(city, what as Hop)] as const),
            ...(kind === "place" ? countries : []),
          ]
        : Object.entries(world.subjects)
            .filter(([, subject]) => subject.kind === kind)
            .map(([name, subject]) => [name, (what === "city" ? subject.city : subject.profession) ?? ""]);
  return found.filter(([, answer]) => answer !== "");
}

/** What a city's country says; empty where that is not one word. */
function ofCity(city: string, hop: Hop): string {
  const country = world.cities[city] ?? "";
  const answer = hop === "country" ? country : (world.countries[country]?.[hop] ?? "");
  return answer.includes(" ") || world.with_article.includes(answer) ? "" : answer;
}

function state(template: string, subject: string, answer: string): Statement {
  const prompt = template
    .replace("{S}", subject.slice(0, 1).toUpperCase() + subject.slice(1))
    .replace("{s}", subject);
  return { prompt, answer: ` ${answer}`, subject, template };
}
