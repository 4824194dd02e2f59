/**
 * @file Where heads look and what they make of it: attention patterns, weighted by what is written too, and scores over a
 * set of prompts that tell kinds of heads apart.
 * Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits" (previous-token and copying heads);
 * Olsson et al. 2022, "In-context Learning and Induction Heads" (prefix matching); Wang et al. 2022 (duplicate-token
 * heads, attention to names); Kobayashi et al. 2020 (weighting by what is written).
 */

import { milliseconds } from "../core/clock.ts";
import { type Fault, refuse } from "../core/errors.ts";
import {
  callback,
  flag,
  type OptionChecks,
  oneOf,
  optionFaults,
  seed,
  signal,
  whole,
  wordOr,
} from "../core/options.ts";
import type { Model } from "../model/model.ts";
import { type TargetRows, targetShares, weightedStanding } from "../numeric/attention.ts";
import { mean } from "../numeric/statistics.ts";
import type { Dataset, Json, Variable } from "../result/result.ts";
import { dataset } from "../result/result.ts";
import { readAttention } from "./attention-scores.ts";
import {
  type AttendedFrom,
  type AttendedPrompt,
  attendedFrom,
  evenShare,
  roleRows,
  rolesOf,
  targetRows,
  tokenScores,
} from "./attention-targets.ts";
import { type HeadName, headFaults, headsCheck } from "./backups.ts";
import { meanOver, type Sample } from "./mean-over.ts";
import { promptFaults } from "./prompt-faults.ts";
import { provenance } from "./provenance.ts";

export interface AttentionOptions {
  /** Rows in which attention to roles is read: the last (default), or all. */
  readonly from?: AttendedFrom | undefined;
  /** Heads whose patterns are in the result: some, all, or (default) the two strongest of each score. */
  readonly patterns?: readonly HeadName[] | "all" | undefined;
  /** The prompt that the patterns are of, by its index. Default 0, the first. */
  readonly example?: number | undefined;
  readonly perPair?: boolean | undefined;
  /** Of intervals. Default 0. */
  readonly seed?: number | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: { readonly aborted: boolean } | undefined;
}

export const attentionChecks: OptionChecks<AttentionOptions> = {
  from: oneOf(attendedFrom),
  patterns: wordOr("all", headsCheck),
  example: whole(0),
  perPair: flag,
  seed,
  onProgress: callback,
  signal,
};

/** Heads of each score whose patterns are shown where none are named. */
const SHOWN_OF_EACH = 2;
/** A head belongs to the kind on which more than half of its attention falls. */
const CLASS_SHARE = 0.5;
/** Numbers in all patterns of a result: more, and its file has hundreds of MB. */
const MAX_PATTERN_NUMBERS = 8e6;

/**
 * Scores every head on every prompt and keeps patterns of some.
 *
 * @returns a dataset with, over layer and head, means over prompts with 95 % intervals: `previous_token`, `first_token`,
 * `duplicate_token`, `induction` (shares of attention, 0 to 1) and `copying` (-1 to 1); over role too `attention_to`;
 * each but `copying` as `<name>_weighted` of attention times the length of what is written; `class` names the kind
 * that has more than half of a head's attention. Over pattern_head, dst and src `pattern` and `value_pattern` of one prompt.
 * `attrs.even` has what even attention would score. A score is NaN where no prompt has what it looks for.
 * @throws InputError for prompts of fewer than three tokens, heads or an example that are not there, heads named twice.
 */
export async function attention(
  model: Model,
  prompts: readonly AttendedPrompt[],
  options: AttentionOptions = {},
): Promise<Dataset> {
  const started = milliseconds();
  refuse([...optionFaults(options, attentionChecks), ...promptFaults(prompts)]);
  const { from = "last", example = 0, seed = 0, perPair = false, patterns } = options;
  refuse(faultsOf(model, prompts, { patterns, example }));
  const { heads } = model.architecture;
  const layers = model.definition.blocks.length;
  const roles = prompts.map((prompt) => new Map(Object.entries(rolesOf(prompt))));
  const roleNames = [...new Set(roles.flatMap((own) => [...own.keys()]))];
  const targets = prompts.map(({ clean: { ids } }, index): readonly (readonly [string, TargetRows])[] => [
    ...tokenScores.map((score) => [score, targetRows[score](ids)] as const),
    ...roleNames.map(
      (role) =>
        [roleKey(role), roleRows(roles[index]?.get(role) ?? [], { length: ids.length, from })] as const,
    ),
  ]);

  const columns = prompts.map(() => new Map<string, Float64Array>());
  const put = (prompt: number, name: string, { layer, row }: { layer: number; row: Float64Array }): void => {
    const found = columns[prompt]?.get(name) ?? new Float64Array(layers * heads).fill(Number.NaN);
    found.set(row, layer * heads);
    columns[prompt]?.set(name, found);
  };
  await readAttention(model, {
    sequences: prompts.map(({ clean }) => clean.ids),
    onLayer({ prompt, layer, pattern, valuePattern, standings }) {
      const size = { heads, length: prompts[prompt]?.clean.ids.length ?? 0 };
      for (const [name, rows] of targets[prompt] ?? []) {
        put(prompt, name, { layer, row: targetShares(pattern, rows, size) });
        put(prompt, weighted(name), { layer, row: targetShares(valuePattern, rows, size) });
      }
      put(prompt, "copying", { layer, row: weightedStanding(valuePattern, standings, size) });
    },
    onProgress: options.onProgress,
    signal: options.signal,
  });
  const samples = columns.map((own) => sampleOf(own, roleNames));
  const summary = meanOver(samples, { unit: "1", perSample: perPair, seed });
  const shown = patterns === undefined ? strongest(summary.dataVars, heads) : namedHeads(model, patterns);
  const kept = await keptPatterns(model, prompts[example] as AttendedPrompt, shown);
  const tokens = prompts[example]?.clean.pieces ?? [];

  return dataset({
    attrs: {
      method: "attention",
      metric: "share of attention",
      unit: "1",
      question: "What do heads attend to, and do they copy it?",
      even: evenShares(targets),
      class_share: CLASS_SHARE,
      rows: Object.fromEntries(
        tokenScores.map((score) => [
          score,
          targets.reduce((sum, own) => sum + (own.find(([name]) => name === score)?.[1].length ?? 0), 0),
        ]),
      ),
      pattern_of: prompts[example]?.id ?? null,
      options: {
        from,
        example,
        patterns: patterns === undefined || patterns === "all" ? (patterns ?? null) : patterns.map(nameOf),
        seed,
      },
      ...summary.attrs,
      ...(await provenance(model, prompts)),
      seconds: (milliseconds() - started) / 1000,
    },
    dims: {
      layer: layers,
      head: heads,
      ...(roleNames.length === 0 ? {} : { role: roleNames.length }),
      pattern_head: shown.length,
      dst: tokens.length,
      src: tokens.length,
      pos: tokens.length,
      ...summary.dims,
    },
    coords: {
      ...(roleNames.length === 0 ? {} : { role: { dims: ["role"], data: roleNames, attrs: {} } }),
      pattern_head: { dims: ["pattern_head"], data: shown.map(nameOf), attrs: {} },
      token: { dims: ["pos"], data: [...tokens], attrs: {} },
      ...summary.coords(prompts),
    },
    dataVars: { ...described(summary.dataVars), class: classes(summary.dataVars, roleNames), ...kept },
  });
}

const weighted = (name: string): string => `${name}_weighted`;
const ROLE = "to ";
const roleKey = (role: string): string => ROLE + role;
const nameOf = ({ layer, head }: HeadName): string => `${layer}.${head}`;

function faultsOf(
  { definition, architecture }: Model,
  prompts: readonly AttendedPrompt[],
  { patterns, example }: { readonly patterns: AttentionOptions["patterns"]; readonly example: number },
): Fault[] {
  if (!definition.blocks[0]?.sites.has("pattern"))
    return [{ where: "model", found: "no attention", wanted: "a model with attention" }];
  const faults: Fault[] = prompts
    .filter(({ clean }) => clean.ids.length < 3)
    .map(({ where, clean }) => ({
      where,
      found: `${clean.ids.length} token${clean.ids.length === 1 ? "" : "s"}`,
      wanted: "three at least, so that the previous token is not the first",
    }));
  if (example >= prompts.length) {
    const wanted = `a prompt from 0 to ${prompts.length - 1}`;
    faults.push({ where: "--example", found: String(example), wanted });
  }
  if (patterns === undefined) return faults;
  const { heads } = architecture;
  const layers = definition.blocks.length;
  if (patterns !== "all") faults.push(...headFaults(patterns, { where: "--patterns", architecture }));
  const count = patterns === "all" ? layers * heads : patterns.length;
  const length = prompts[example]?.clean.ids.length ?? 0;
  if (count * length * length > MAX_PATTERN_NUMBERS) {
    faults.push({
      where: "--patterns",
      found: `${count} heads at ${length} tokens`,
      wanted: `at most ${Math.floor(MAX_PATTERN_NUMBERS / length ** 2)} heads of such a prompt`,
    });
  }
  return faults;
}

function sampleOf(columns: ReadonlyMap<string, Float64Array>, roles: readonly string[]): Sample {
  const dims = ["layer", "head"];
  const sample: Record<string, Sample[string]> = {};
  for (const [name, data] of columns) if (!name.startsWith(ROLE)) sample[name] = { dims, data };
  for (const form of roles.length === 0 ? [] : [(name: string) => name, weighted]) {
    const rows = roles.flatMap((role) => [...(columns.get(form(roleKey(role))) ?? [])]);
    sample[form("attention_to")] = { dims: ["role", ...dims], data: Float64Array.from(rows) };
  }
  return sample;
}

/** What even attention would score, mean over prompts that have what is looked for. */
function evenShares(targets: readonly (readonly (readonly [string, TargetRows])[])[]): Json {
  return Object.fromEntries(
    (targets[0] ?? []).map(([name], index) => {
      const all = targets
        .map((own) => evenShare(own[index]?.[1] ?? []))
        .filter((value) => !Number.isNaN(value));
      return [name, all.length === 0 ? null : mean(all)];
    }),
  );
}

/** The heads with the largest means of each score, in the order of layers. */
function strongest(variables: Readonly<Record<string, Variable>>, heads: number): HeadName[] {
  const found = new Set<number>();
  const scores = [...tokenScores.filter((score) => score !== "first_token"), "copying", "attention_to"];
  for (const score of scores) {
    const data = Array.from(variables[score]?.data ?? [], Number);
    const layers = variables.copying?.data.length ?? 1;
    for (let start = 0; start < data.length; start += layers) {
      const own = data.slice(start, start + layers);
      const order = [...own.keys()].filter((at) => !Number.isNaN(own[at]));
      order.sort((a, b) => (own[b] ?? 0) - (own[a] ?? 0));
      for (const at of order.slice(0, SHOWN_OF_EACH)) found.add(at);
    }
  }
  return [...found].sort((a, b) => a - b).map((at) => ({ layer: Math.floor(at / heads), head: at % heads }));
}

function namedHeads({ definition, architecture }: Model, patterns: readonly HeadName[] | "all"): HeadName[] {
  if (patterns !== "all") return [...patterns];
  return [...definition.blocks.keys()].flatMap((layer) =>
    Array.from({ length: architecture.heads }, (_, head) => ({ layer, head })),
  );
}

/** Patterns of some heads on one prompt, as they are and weighted. */
async function keptPatterns(
  model: Model,
  prompt: AttendedPrompt,
  shown: readonly HeadName[],
): Promise<Record<string, Variable>> {
  const size = prompt.clean.ids.length ** 2;
  const plain = new Float64Array(shown.length * size);
  const byValue = new Float64Array(shown.length * size);
  const layers = [...new Set(shown.map(({ layer }) => layer))];
  await readAttention(model, {
    sequences: layers.length === 0 ? [] : [prompt.clean.ids],
    layers,
    onLayer({ layer, pattern, valuePattern }) {
      for (const [index, head] of shown.entries()) {
        if (head.layer !== layer) continue;
        const [from, to] = [head.head * size, (head.head + 1) * size];
        plain.set(pattern.subarray(from, to), index * size);
        byValue.set(valuePattern.subarray(from, to), index * size);
      }
    },
  });
  const dims = ["pattern_head", "dst", "src"];
  const long_name = "attention times the length of what the head writes from there";
  return {
    pattern: { dims, data: plain, attrs: { unit: "1", detail: true, long_name: "attention" } },
    value_pattern: { dims, data: byValue, attrs: { unit: "1", detail: true, long_name } },
  };
}

const LONG_NAMES: Readonly<Record<string, string>> = {
  previous_token: "share of attention on the token before, from the third position on",
  first_token: "share of attention on the first token, from the third position on",
  duplicate_token: "share of attention on earlier occurrences of the same token",
  induction: "share of attention on what followed earlier occurrences of the same token",
  copying:
    "standing of the token read among the prompt's tokens by what is written for each: 1 first, -1 last",
  attention_to: "share of attention on the role's tokens",
};

function described(variables: Readonly<Record<string, Variable>>): Record<string, Variable> {
  return Object.fromEntries(
    Object.entries(variables).map(([name, { dims, data, attrs }]) => {
      const long = LONG_NAMES[name.replace("_weighted", "")];
      const more: Record<string, Json> = {
        ...(long === undefined
          ? {}
          : { long_name: name.endsWith("_weighted") ? `${long}, weighted by what is written` : long }),
        ...(name.endsWith("_weighted") ? { detail: true } : {}),
      };
      return [name, { dims, data, attrs: { ...attrs, ...more } }];
    }),
  );
}

/** The kind with the largest share of each head's attention, where it is more than {@link CLASS_SHARE}. */
function classes(variables: Readonly<Record<string, Variable>>, roles: readonly string[]): Variable {
  const size = variables.copying?.data.length ?? 0;
  const kinds = [
    ...tokenScores.map((name) => ({ name: name.replaceAll("_", " "), of: variables[name], start: 0 })),
    ...roles.map((role, at) => ({
      name: roleKey(role),
      of: variables.attention_to,
      start: at * size,
    })),
  ];
  const data = Array.from({ length: size }, (_, cell) => {
    let best = { name: "", share: CLASS_SHARE };
    for (const { name, of, start } of kinds) {
      const share = Number(of?.data[start + cell] ?? Number.NaN);
      if (share > best.share) best = { name, share };
    }
    return best.name;
  });
  return { dims: ["layer", "head"], data, attrs: { detail: true } };
}
