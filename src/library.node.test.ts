/** @file What the library refuses of users whose options no compiler has read, and no command line. */

import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import * as library from "./index.ts";
import type * as methods from "./library.node.ts";

let model: library.LoadedModel;
let pair: library.Pair;
beforeAll(async () => {
  model = await library.load("pocket");
  [pair] = library.generatePairs("ioi", model.tokenizer, { n: 1, seed: 0 });
});
afterAll(() => model.close());

/** Arguments as a user of JavaScript may give them. */
type Loose = Readonly<Record<string, unknown>> | undefined;

/** Everything that `library.node.ts` has that runs a model, as it is called. */
type MethodName = Exclude<keyof typeof methods, "result" | "patch">;

interface Case {
  /** With prompts that it takes, or with others. */
  readonly call: (options: Loose, prompts?: unknown) => Promise<unknown>;
  /** Its options, in the order in which they are told. */
  readonly known: string;
  readonly wrong: readonly (readonly [options: Loose, message: string])[];
  readonly none: readonly [prompts: unknown, message: string];
}

/** A library function without its types. */
type Untyped = (...given: readonly unknown[]) => Promise<unknown>;
const functions = { ...library } as unknown as Readonly<Record<string, Untyped>>;

function of(
  name: MethodName,
  {
    prompts,
    none = [[], "prompts: found none; wanted at least one."],
    ...rest
  }: Omit<Case, "call" | "none"> & {
    readonly prompts: () => unknown;
    readonly none?: Case["none"];
  },
): Case {
  const call: Case["call"] = async (options, given = prompts()) => functions[name]?.(model, given, options);
  return { ...rest, none, call };
}

const NO_PAIRS = [[], "pairs: found none; wanted at least one pair."] as const;
const METRIC = "wanted one of logit_diff, logprob, prob, kl, kl_reverse, loss";
const SEED = "wanted a whole number from 0 to 4294967295";
const pairs = (): unknown => [pair];
const facts = (): unknown => ({ prompt: "When Mary and John went", subject: "Mary" });

/** Complete by type: a method that is added without a case here does not compile. */
const cases: { readonly [M in MethodName]: Case } = {
  activationPatching: of("activationPatching", {
    prompts: pairs,
    none: NO_PAIRS,
    known:
      "sites, by, choose, direction, ablate, joint, ungroup, metric, averaging, normalize, perPair, references, verify, seed, stateBytes, onPlan, keep, onResume, onProgress, signal",
    wrong: [
      [
        { sites: ["z"], by: ["layer"], direction: "back", metric: "probb" },
        [
          'options.direction: found "back"; wanted one of denoise, noise.',
          `options.metric: found "probb"; ${METRIC}. Did you mean "prob"?`,
        ].join("\n"),
      ],
      [
        { sites: "z", verify: -1, seed: 1.5 },
        [
          'options.sites: found "z"; wanted a list of texts. Put it into a list: ["z"].',
          "options.verify: found -1; wanted a whole number, 0 or more.",
          `options.seed: found 1.5; ${SEED}.`,
          "options.by: found nothing; wanted a list of texts.",
        ].join("\n"),
      ],
      [
        { sites: ["z"], by: ["layer"], ablate: { kind: "mean", draws: 3 } },
        [
          "options.ablate.draws: found an unknown option; wanted one of over.",
          "options.ablate.over: found nothing; wanted one of position, all.",
        ].join("\n"),
      ],
      [
        { sites: ["z"], by: ["layer"], references: [[1, 2]] },
        "options.references: found the ablation source; wanted options.ablate of the kind mean or resample with it.",
      ],
    ],
  }),
  attribution: of("attribution", {
    prompts: pairs,
    none: NO_PAIRS,
    known:
      "sites, by, choose, ungroup, direction, metric, keepBytes, stateBytes, onProgress, signal, estimator, perPair, verifyTop, samples, confidence, seed",
    wrong: [
      [
        { estimator: "ig", samples: -1 },
        [
          'options.estimator: found "ig"; wanted an object whose kind is one of atp, atp-star, ig. Write { kind: "ig" }.',
          "options.samples: found -1; wanted a whole number from 0 to 10000.",
        ].join("\n"),
      ],
    ],
  }),
  attributionPathologies: of("attributionPathologies", {
    prompts: pairs,
    none: NO_PAIRS,
    known:
      "sites, by, choose, ungroup, direction, metric, keepBytes, stateBytes, onProgress, signal, verifyTop",
    wrong: [[{ verifyTop: 0.5 }, "options.verifyTop: found 0.5; wanted a whole number, 0 or more."]],
  }),
  attributionRecall: of("attributionRecall", {
    prompts: pairs,
    none: NO_PAIRS,
    known:
      "sites, by, choose, ungroup, direction, metric, keepBytes, stateBytes, onProgress, signal, top, seed",
    wrong: [[{ top: 0 }, "options.top: found 0; wanted a whole number, 1 or more."]],
  }),
  edgeAttribution: of("edgeAttribution", {
    prompts: pairs,
    none: NO_PAIRS,
    known:
      "estimator, edges, groupKv, direction, metric, perPair, verifyTop, seed, keepBytes, stateBytes, onProgress, signal",
    wrong: [
      [
        { estimator: { kind: "eap-ig", steps: 0, rule: "midpiont" } },
        [
          "options.estimator.steps: found 0; wanted a whole number from 1 to 10000.",
          'options.estimator.rule: found "midpiont"; wanted one of midpoint, paper, code. Did you mean "midpoint"?',
        ].join("\n"),
      ],
    ],
  }),
  exactEdges: of("exactEdges", {
    prompts: pairs,
    none: NO_PAIRS,
    known:
      "edges, groupKv, direction, metric, perPair, verify, seed, stateBytes, onPlan, keep, onResume, onProgress, signal",
    wrong: [
      [{ groupKv: "yes" }, 'options.groupKv: found "yes"; wanted true or false.'],
      [{ seed: -1 }, `options.seed: found -1; ${SEED}.`],
    ],
  }),
  corruptionComparison: of("corruptionComparison", {
    prompts: pairs,
    none: NO_PAIRS,
    known:
      "kinds, factors, samples, draws, seed, sites, windows, metrics, symmetric, references, verify, stateBytes, onProgress, signal",
    wrong: [
      [
        { kinds: ["nois"], windows: [0], metrics: ["prob", "prob"], factors: [] },
        [
          'options.kinds[0]: found "nois"; wanted one of noise, replacement, resample, mean, zero. Did you mean "noise"?',
          "options.windows[0]: found 0; wanted a whole number, 1 or more.",
          'options.metrics: found "prob" again; wanted each once.',
          "options.factors: found an empty list; wanted at least one.",
        ].join("\n"),
      ],
      [{ kinds: ["zero"], draws: 2 }, "options.draws: found the kinds zero; wanted resample among them."],
    ],
  }),
  causalTracing: of("causalTracing", {
    prompts: facts,
    known:
      "sites, factor, spread, distribution, samples, antithetic, noise, window, windowBefore, sever, metric, perPair, verify, seed, stateBytes, onNoise, onProgress, signal",
    wrong: [
      [
        { spread: "tabel", factor: -1, window: 0 },
        [
          'options.spread: found "tabel"; wanted one of table, subjects. Did you mean "table"?',
          "options.factor: found -1; wanted a number, 0 or more.",
          "options.window: found 0; wanted a whole number from 1 to 10000.",
        ].join("\n"),
      ],
    ],
  }),
  direct: of("direct", {
    prompts: facts,
    known: "on, centred, sources, neuronLayers, perPair, seed, onProgress",
    wrong: [
      [
        { on: "differnce", neuronLayers: [0.5] },
        [
          'options.on: found "differnce"; wanted one of clean, corrupt, difference. Did you mean "difference"?',
          "options.neuronLayers[0]: found 0.5; wanted a whole number, 0 or more.",
        ].join("\n"),
      ],
    ],
  }),
  attention: of("attention", {
    prompts: facts,
    known: "from, patterns, example, perPair, seed, onProgress, signal",
    wrong: [
      [
        { from: "lsat", patterns: "9.6", example: -1 },
        [
          'options.from: found "lsat"; wanted one of last, all. Did you mean "last"?',
          'options.patterns: found "9.6"; wanted a list of heads such as { layer: 9, head: 6 }, or "all".',
          "options.example: found -1; wanted a whole number, 0 or more.",
        ].join("\n"),
      ],
    ],
  }),
  hydra: of("hydra", {
    prompts: facts,
    known:
      "ablation, references, centred, seed, heads, clamp, topPercent, perPair, stateBytes, onProgress, signal",
    wrong: [
      [
        { ablation: { kind: "resample", draws: 0 }, topPercent: 100 },
        [
          "options.ablation.draws: found 0; wanted a whole number from 1 to 10000.",
          "options.topPercent: found 100; wanted a number of at least 0 and below 100.",
        ].join("\n"),
      ],
      [
        { ablation: { kind: "zero" }, references: [[1]] },
        "options.references: found the ablation zero; wanted options.ablation of the kind mean or resample with it.",
      ],
    ],
  }),
  backups: of("backups", {
    prompts: facts,
    known: "ablation, references, centred, seed, first, rounds, perRound, stateBytes, onProgress, signal",
    wrong: [
      [
        { first: ["9.6"], rounds: -1, perRound: 0 },
        [
          'options.first[0]: found "9.6"; wanted an object with some of layer, head.',
          "options.rounds: found -1; wanted a whole number from 0 to 1000.",
          "options.perRound: found 0; wanted a whole number from 1 to 1000.",
        ].join("\n"),
      ],
    ],
  }),
  lens: of("lens", {
    prompts: facts,
    known: "sites, metric, perPair, seed, onProgress",
    wrong: [
      [
        { metric: "kl", onProgress: true },
        [
          'options.metric: found "kl"; wanted one of logit_diff, logprob, prob, loss.',
          "options.onProgress: found true; wanted a function.",
        ].join("\n"),
      ],
    ],
  }),
  layerRedundancy: of("layerRedundancy", {
    prompts: () => ["When Mary and John went"],
    none: [[], "texts: found none; wanted at least one."],
    known: "blocks, middle, seed, stateBytes, onProgress, signal, bos",
    wrong: [
      [
        { blocks: [0], middle: 3, bos: 1 },
        [
          "options.blocks[0]: found 0; wanted a whole number, 1 or more.",
          "options.middle: found 3; wanted a list of two layers, the first and the last.",
          "options.bos: found 1; wanted true or false.",
        ].join("\n"),
      ],
    ],
  }),
  mcq: of("mcq", {
    prompts: () => ({ n: 8 }),
    none: [{ n: 0 }, "questions.n: found 0; wanted a whole number from 1 to 100000."],
    known: "metric, draws, share, maxRank, rank, heads, seed, stateBytes, onProgress, signal, bos",
    wrong: [
      [
        { metric: "prob", share: 1 },
        [
          'options.metric: found "prob"; wanted one of logit_diff, loss.',
          "options.share: found 1; wanted a number of at least 0 and below 1.",
        ].join("\n"),
      ],
    ],
  }),
  nextTokens: of("nextTokens", {
    prompts: () => "When Mary",
    none: ["", 'prompt: found ""; wanted a text.'],
    known: "top, edits, runs, bos",
    wrong: [
      [
        { top: 0, edits: [{ site: "zz", layer: 0, where: { head: 3 }, action: "replace" }] },
        [
          "options.top: found 0; wanted a whole number, 1 or more.",
          'options.edits[0].site: found "zz"; wanted one of',
        ].join("\n"),
      ],
    ],
  }),
};

/** What a call is refused with; the weights and the engine have not been touched then. */
async function refusal(call: () => Promise<unknown>): Promise<string> {
  const touched = [vi.spyOn(model.weights, "get"), vi.spyOn(model, "compile")];
  const error = await (async () => call())().catch((reason: unknown) => reason);
  for (const spy of touched) {
    expect(spy).not.toHaveBeenCalled();
    spy.mockRestore();
  }
  expect(error).toBeInstanceOf(library.InputError);
  return (error as Error).message;
}

describe.each(Object.entries(cases))("%s", (_, { call, known, wrong, none }) => {
  test("an option that is none is refused", async () => {
    const required = known.startsWith("sites, by, choose, direction") ? { sites: ["z"], by: ["layer"] } : {};
    expect(await refusal(() => call({ ...required, xyzzy: 1 }))).toBe(
      `options.xyzzy: found an unknown option; wanted one of ${known}.`,
    );
    expect(await refusal(() => call(null as unknown as Loose))).toBe(
      `options: found null; wanted an object with some of ${known}.`,
    );
  });

  test("values that cannot be are refused, all at once", async () => {
    for (const [options, message] of wrong) {
      const found = await refusal(() => call(options));
      if (message.endsWith("wanted one of")) expect(found).toContain(message);
      else expect(found).toBe(message);
    }
  });

  test("no prompts are refused", async () => {
    const [nothing, message] = none;
    const required = { sites: ["z"], by: ["layer"] };
    const options = known.startsWith("sites, by, choose, direction") ? required : {};
    expect(await refusal(() => call(options, nothing))).toBe(message);
  });
});

test("an option that is nearly one is told", async () => {
  expect(await refusal(() => cases.exactEdges.call({ metrik: "prob" }))).toMatch(
    /^options\.metrik: found an unknown option; wanted one of .*\. Did you mean "metric"\?$/,
  );
});

const patching = { sites: ["z"], by: ["layer"] };
test.each<readonly [string, () => unknown, string]>([
  ["nothing", () => [], "pairs: found none; wanted at least one pair."],
  [
    "texts",
    () => [{ clean: "When", corrupt: "Then" }],
    "pairs[0]: found texts without their tokens; wanted a pair that model.pair has made. Call model.pair with them.",
  ],
  [
    "all that model.pairs returns",
    () => ({ pairs: [pair], warnings: [] }),
    "pairs[0]: found an object; wanted a pair that model.pair has made. Give the pairs in it: model.pairs(…).pairs.",
  ],
  [
    "a promise",
    () => Promise.resolve([pair]),
    "pairs[0]: found a promise that is not awaited; wanted a pair that model.pair has made.",
  ],
])("%s for pairs", async (_, given, message) => {
  expect(await refusal(() => cases.activationPatching.call(patching, given()))).toBe(message);
});

test("prompts and pairs together, unknown keys of prompts, and options beside them", async () => {
  const { lens } = cases;
  expect(await refusal(() => lens.call({}, [pair, facts()]))).toBe(
    "prompts: found 1 of them pairs, 1 not; wanted pairs alone, or prompts alone.",
  );
  expect(await refusal(() => lens.call({ seed: -1 }, [{ prompt: "When", anser: "a" }]))).toBe(
    [
      `options.seed: found -1; ${SEED}.`,
      'prompt: found the unknown key "anser"; wanted only prompt, subject, answer, foil, roles, id. Correct its spelling or remove it.',
    ].join("\n"),
  );
});

describe("what methods are built of", () => {
  const untyped =
    (name: keyof typeof library): Untyped =>
    async (...given) =>
      functions[name]?.(...given);
  const ids = [1, 2, 3];

  test.each<readonly [string, () => unknown, string]>([
    [
      "load",
      () => untyped("load")("pocket", { devise: "cpu", threads: 0, memory: 10 }),
      [
        'options.devise: found an unknown option; wanted one of device, threads, backend, memory, ahead, onDownload. Did you mean "device"?',
        "options.threads: found 0; wanted a whole number from 1 to 1024.",
        "options.memory: found 10; wanted a whole number, 1000000 or more.",
      ].join("\n"),
    ],
    ["load without a name", () => untyped("load")(), "name: found nothing; wanted a text."],
    [
      "model.pair",
      () => model.pair({ clean: "When", corrupt: "Then" }, { boss: true } as object),
      'form.boss: found an unknown option; wanted one of bos, chat. Did you mean "bos"?',
    ],
    ["model.pairs", () => model.pairs("When" as never), 'specs: found "When"; wanted a list.'],
    [
      "forward",
      () => untyped("forward")(model, [ids], { stop: 1, capture: [{ site: "z", layers: 3 }] }),
      [
        "options.stop: found an unknown option; wanted one of capture, edits, runs, stopAfter.",
        "options.capture[0].layers: found 3; wanted a list of layers. Put it into a list: [3].",
      ].join("\n"),
    ],
    [
      "forward of what is not there",
      () => untyped("forward")(model, [[]], { stopAfter: 99, capture: [{ site: "z", layers: [99] }] }),
      [
        "sequences[0]: found no token; wanted at least one.",
        "options.capture[0].layers: found 99; wanted 0 to 7.",
        "options.stopAfter: found 99; wanted at most 8 layers.",
      ].join("\n"),
    ],
    [
      "gradients",
      () => untyped("gradients")(model, [], { site: ["z"] }),
      [
        'options.site: found an unknown option; wanted one of sites, layers, edits, runs, keepBytes. Did you mean "sites"?',
        "options.sites: found nothing; wanted a list of sites.",
      ].join("\n"),
    ],
    [
      "generate",
      () => untyped("generate")(model, "When", { topk: 3, temperature: -1 }),
      [
        'options.topk: found an unknown option; wanted one of tokens, temperature, topK, seed, stopIds, edits, editOn, runs, onToken. Did you mean "topK"?',
        "options.temperature: found -1; wanted a number, 0 or more.",
        "options.tokens: found nothing; wanted a whole number from 1 to 131072.",
        'prompt: found "When"; wanted a list of token ids, as model.tokenizer.encode gives them.',
      ].join("\n"),
    ],
    [
      "generate from nothing",
      () => untyped("generate")(model, [], { tokens: 1 }),
      "prompt: found no token; wanted at least one.",
    ],
    [
      "patch",
      () => untyped("patch")("z", 0, { run: 0, pos: [1] }),
      "options.pos: found an unknown option; wanted one of run, where.",
    ],
    [
      "metricPlan",
      () => untyped("metricPlan")(pair, "probb"),
      `metric: found "probb"; ${METRIC}. Did you mean "prob"?`,
    ],
  ])("%s", async (_, call, message) => {
    expect(await refusal(async () => call())).toBe(message);
  });

  test("save", async () => {
    const found = await library.nextTokens(model, "When");
    await expect(found.save(undefined as unknown as string)).rejects.toThrow(
      "file: found nothing; wanted a text.",
    );
  });
});

test("every function of the library that takes options is told of here", () => {
  const names = Object.entries(library).flatMap(([name, value]) =>
    typeof value === "function" ? [name] : [],
  );
  const others = ["load", "forward", "gradients", "generate", "patch", "metricPlan", "generatePairs"];
  const without = [
    "InputError",
    "referenceBackend",
    "mcqStep",
    "metricRun",
    "unpad",
    "parseSite",
    "siteShape",
    "sitesOf",
  ];
  expect(names.sort()).toEqual([...Object.keys(cases), ...others, ...without].sort());
});
