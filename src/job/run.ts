/** @file The job of the command `run`: the next token's distribution, and a continuation where one is asked for. */
import { nextTokens } from "../method/next-token.ts";
import type { Model } from "../model/model.ts";
import { unknownWordWarnings } from "../model/pair-checks.ts";
import type { Tokens } from "../model/pair-tokens.ts";
import { promptTokens } from "../model/pair-tokens.ts";
import type { Dataset, Json } from "../result/result.ts";
import type { Edit } from "../run/edit.ts";
import type { Cache } from "../run/forward.ts";
import { forward } from "../run/forward.ts";
import { generate } from "../run/generate.ts";
import type { SiteName } from "../run/site.ts";
import { checkEdits, type EditFile, readEdits } from "./edits.ts";
import type { JobContext } from "./input.ts";
import type { RunOptions } from "./options/run.ts";

/** Runs a prompt as the options say. @throws InputError with every fault of the edits, before anything is computed. */
export async function runJob(model: Model, options: RunOptions, context: JobContext): Promise<Dataset> {
  const { tokenizer } = model;
  const { tokens: prompt } = promptTokens(options.prompt ?? "", tokenizer, options);
  const bos = { bos: options.bos ?? tokenizer.addsBos };
  const where = options.edit ?? "";
  const { edits, runs }: EditFile =
    options.edit === undefined ? { edits: [], runs: [] } : readEdits(await context.readText(where), where);
  const editOn = options["edit-on"] ?? "prefill";
  const sources = runs.map((text) => tokenizer.encode(text, bos));
  checkEdits(edits, model, {
    where,
    prompt: prompt.ids.length,
    runs: sources.map((ids) => ids.length),
    generated: options.generate === undefined ? undefined : { tokens: options.generate, editOn },
  });
  const caches = await captured(model, sources, edits);
  const warnings = unknownWordWarnings(prompt, tokenizer, "prompt");
  const result = await nextTokens(model, prompt, { top: options.top, edits, runs: caches });
  return {
    ...result,
    attrs: {
      ...result.attrs,
      ...(warnings.length === 0 ? {} : { warnings }),
      ...(options.generate === undefined
        ? {}
        : await continuation(model, prompt, {
            ...options,
            edits,
            caches,
            context,
            tokens: options.generate,
          })),
      options: {
        bos: bos.bos,
        chat: options.chat ?? false,
        edits: edits.map(editJson),
        runs: [...runs],
      },
    },
  };
}

/** Runs that edits take values from, with the sites that they take. */
async function captured(
  model: Model,
  sources: readonly (readonly number[])[],
  edits: readonly Edit[],
): Promise<readonly Cache[]> {
  if (sources.length === 0) return [];
  const layers = new Map<SiteName, Set<number>>();
  for (const { site, layer, value } of edits) {
    if (value.kind === "run") layers.set(site, (layers.get(site) ?? new Set()).add(layer));
  }
  const capture = [...layers].map(([site, held]) => ({ site, layers: [...held] }));
  return (await forward(model, sources, { capture })).caches;
}

interface Continuation extends RunOptions {
  readonly tokens: number;
  readonly edits: readonly Edit[];
  readonly caches: readonly Cache[];
  readonly context: JobContext;
}

async function continuation(
  model: Model,
  prompt: Tokens,
  options: Continuation,
): Promise<Record<string, Json>> {
  const { tokens, temperature, seed, context } = options;
  let done = 0;
  const { ids, logprobs } = await generate(model, prompt.ids, {
    tokens,
    temperature,
    topK: options["top-k"],
    seed,
    edits: options.edits,
    editOn: options["edit-on"],
    runs: options.caches,
    onToken: () => context.onProgress?.(++done, tokens),
  });
  const ends = new Set(model.tokenizer.eosIds);
  const last = ids.at(-1);
  const spoken = last !== undefined && ends.has(last) ? ids.slice(0, -1) : ids;
  return {
    text: model.tokenizer.decode(spoken),
    generated: {
      tokens: [...ids],
      pieces: model.tokenizer.pieces(ids),
      logprobs: [...logprobs],
      temperature: temperature ?? 0,
      ...(options["top-k"] === undefined ? {} : { top_k: options["top-k"] }),
      seed: seed ?? 0,
      edit_on: options["edit-on"] ?? "prefill",
    },
  };
}

/** An edit as attributes hold it; given values, which may be large, as their shape. */
function editJson({ site, layer, where, action, value }: Edit): Json {
  const cells = Object.entries(where).flatMap(([axis, labels]) =>
    labels === undefined ? [] : [[axis, [...labels]] as const],
  );
  const shown: Json = value.kind === "given" ? { kind: value.kind, shape: [...value.shape] } : { ...value };
  return { site, layer, where: Object.fromEntries(cells), action, value: shown };
}
