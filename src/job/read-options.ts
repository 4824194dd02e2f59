/** @file Reading the options of a command: each by itself, then those that need another or exclude it. */
import type { Fault } from "../core/errors.ts";
import type { Ablation } from "../method/ablation.ts";
import { type OptionFault, readFields } from "./fields.ts";
import { HEAD_PATTERN } from "./heads.ts";
import { fields } from "./option-fields.ts";
import type {
  AttentionOptions,
  AttributeOptions,
  CommandName,
  EdgesOptions,
  FactOptions,
  HydraOptions,
  OptionsOf,
  OutputOptions,
  PatchOptions,
  RedundancyOptions,
} from "./options.ts";

/** What single options cannot tell: those that need another, or exclude it. */
const together: { readonly [C in CommandName]: (options: OptionsOf[C]) => readonly OptionFault[] } = {
  info: () => [],
  run(options) {
    const faults = needs(options, [
      ["temperature", "generate"],
      ["top-k", "generate"],
      ["edit-on", "edit"],
      ["edit-on", "generate"],
    ]);
    if (options.prompt === undefined) {
      faults.push({ option: "prompt", found: "none", wanted: "a text", fix: "Give --prompt TEXT." });
    }
    return [...faults, ...showFaults(options)];
  },
  patch(options) {
    const { ablate = "source" } = options;
    const faults = [...promptFaults(options), ...showFaults(options)];
    const onlyFor = (option: "mean" | "draws" | "reference", kinds: readonly Ablation["kind"][]): void => {
      if (options[option] === undefined || kinds.includes(ablate)) return;
      const wanted = kinds.map((kind) => `--ablate ${kind}`).join(" or ");
      faults.push({ option, found: `--ablate ${ablate}`, wanted: `${wanted} with it` });
    };
    onlyFor("mean", ["mean"]);
    onlyFor("draws", ["resample"]);
    onlyFor("reference", ["mean", "resample"]);
    return faults;
  },
  attribute(options) {
    const { method = "atp" } = options;
    const faults = [...promptFaults(options), ...showFaults(options)];
    const onlyFor = (option: keyof AttributeOptions & string, wanted: string): void => {
      if (options[option] === undefined || wanted === method) return;
      faults.push({ option, found: `--method ${method}`, wanted: `--method ${wanted} with it` });
    };
    for (const option of ["qk-fix", "grad-drop"] as const) onlyFor(option, "atp-star");
    for (const option of ["over", "steps", "rule"] as const) onlyFor(option, "ig");
    if (options.recall && options["verify-top"] === 0)
      faults.push({ option: "verify-top", found: "0 with --recall", wanted: "at least 1 cell to find" });
    for (const option of ["recall", "pathologies"] as const) {
      if (!options[option]) continue;
      const others = (["method", "samples", "confidence", "per-pair"] as const).filter(
        (other) => options[other] !== undefined,
      );
      if (option === "recall" && options.pathologies)
        faults.push({ option, found: "--pathologies", wanted: "one of the two" });
      for (const other of others) {
        faults.push({
          option: other,
          found: `--${option}`,
          wanted: `one of the two: --${option} has every method`,
        });
      }
    }
    return faults;
  },
  edges(options) {
    const { method = "eap" } = options;
    const faults = [...promptFaults(options), ...showFaults(options)];
    const onlyFor = (option: keyof EdgesOptions & string, wanted: readonly string[]): void => {
      if (options[option] === undefined || wanted.includes(method)) return;
      const methods = wanted.map((one) => `--method ${one}`).join(" or ");
      faults.push({ option, found: `--method ${method}`, wanted: `${methods} with it` });
    };
    for (const option of ["steps", "rule"] as const) onlyFor(option, ["eap-ig", "eap-ig-activations"]);
    onlyFor("compatible", ["eap-ig-activations"]);
    onlyFor("verify", ["exact"]);
    if (method === "exact" && options["verify-top"] !== undefined)
      faults.push({
        option: "verify-top",
        found: "--method exact",
        wanted: "a method that estimates with it",
      });
    return faults;
  },
  direct(options) {
    const { prompt, facts, lens, clean, corrupt, pairs, task } = options;
    const paired = [clean, corrupt, pairs, task].some((value) => value !== undefined);
    const faults = paired && prompt === undefined && facts === undefined ? promptFaults(options) : [];
    const others = paired ? ["--clean and --corrupt, --pairs or --task"] : [];
    const only = (["on", "norm", "centred", "sources", "neurons"] as const).filter(
      (option) => options[option] !== undefined,
    );
    return [
      ...factFaults(options, others).filter(() => !(paired && faults.length > 0)),
      ...faults,
      ...needs(options, [
        ["site", "lens"],
        ["metric", "lens"],
      ]),
      ...(lens ? only : []).map((option) => ({ option, found: "--lens", wanted: "one of the two" })),
      ...showFaults(options),
    ];
  },
  hydra(options) {
    const { ablate = "resample", backups } = options;
    const faults = [...hydraPromptFaults(options), ...showFaults(options)];
    const expect = (option: keyof HydraOptions & string, found: string, wanted: string): void => {
      if (options[option] !== undefined) faults.push({ option, found, wanted });
    };
    if (ablate !== "resample") expect("draws", `--ablate ${ablate}`, "--ablate resample with it");
    if (ablate === "zero") expect("reference", "--ablate zero", "--ablate mean or resample with it");
    for (const option of ["first", "rounds", "per-round"] as const) {
      if (backups !== true) expect(option, "no --backups", "--backups with it");
    }
    for (const option of ["heads", "clamp", "top-percent", "per-pair"] as const) {
      if (backups === true) expect(option, "--backups", "one of the two");
    }
    const strange = options.first?.filter((name) => !HEAD_PATTERN.test(name)) ?? [];
    if (strange.length > 0)
      faults.push({ option: "first", found: strange.join(", "), wanted: "heads such as 9.6,9.9" });
    return faults;
  },
  attention(options) {
    const { repeat, patterns } = options;
    const faults = [...showFaults(options)];
    const given = attentionPrompts.filter((option) => options[option] !== undefined);
    if (repeat === undefined) faults.push(...hydraPromptFaults(options));
    else {
      for (const option of given) faults.push({ option, found: "--repeat", wanted: "one of the two" });
    }
    const strange =
      patterns?.join() === "all" ? [] : (patterns?.filter((name) => !HEAD_PATTERN.test(name)) ?? []);
    if (strange.length > 0)
      faults.push({ option: "patterns", found: strange.join(", "), wanted: "heads such as 9.6,9.9, or all" });
    return faults;
  },
  corruptions(options) {
    const { corruption } = options;
    const faults = [...promptFaults(options), ...showFaults(options)];
    for (const [option, kind] of [
      ["sigma", "noise"],
      ["samples", "noise"],
      ["draws", "resample"],
    ] as const) {
      if (options[option] === undefined || corruption === undefined || corruption.includes(kind)) continue;
      faults.push({ option, found: `--corruption ${corruption.join(",")}`, wanted: `${kind} among them` });
    }
    if (options.window?.includes(0)) faults.push({ option: "window", found: "0", wanted: "1 layer or more" });
    return faults;
  },
  redundancy: (options) => [...textFaults(options), ...showFaults(options)],
  trace(options) {
    const faults = [...factFaults(options), ...showFaults(options)];
    if (options.prompt !== undefined && options.subject === undefined) {
      faults.push({ option: "subject", found: "none", wanted: "the part of the prompt that is noised" });
    }
    if (options.facts !== undefined && options.subject !== undefined) {
      faults.push({ option: "subject", found: "--facts beside it", wanted: "subjects in the file" });
    }
    if (options.noise !== undefined) {
      for (const option of [
        "sigma",
        "spread",
        "distribution",
        "samples",
        "antithetic",
        "write-noise",
      ] as const) {
        if (options[option] === undefined) continue;
        faults.push({ option, found: "--noise beside it", wanted: "one of the two" });
      }
    }
    return faults;
  },
};

/** Where prompts of `attention` may come from beside `repeat`. */
const attentionPrompts = [
  "prompt",
  "prompts",
  "answer",
  "foil",
  "clean",
  "corrupt",
  "pairs",
  "task",
] as const;

/** Prompts of `direct` and `trace` come from exactly one place. */
function factFaults(options: FactOptions, others: readonly string[] = []): OptionFault[] {
  const { prompt, facts } = options;
  const given = [
    ...(prompt === undefined ? [] : ["--prompt"]),
    ...(facts === undefined ? [] : ["--facts"]),
    ...others,
  ];
  if (given.length !== 1) {
    return [
      {
        option: facts === undefined ? "prompt" : "facts",
        found: given.length === 0 ? "no prompts" : given.join(", "),
        wanted: "prompts from one place: --prompt, --facts FILE, or what else the command takes",
      },
    ];
  }
  if (facts === undefined || (options.answer === undefined && options.foil === undefined)) return [];
  return [{ option: "facts", found: "--answer or --foil beside it", wanted: "answers in the file" }];
}

/** Prompts of `hydra` and `attention` come from exactly one place. */
function hydraPromptFaults(options: HydraOptions | AttentionOptions): OptionFault[] {
  const { prompt, prompts, clean, corrupt, pairs, task, answer, foil, n } = options;
  const paired = [clean, corrupt, pairs, task].some((value) => value !== undefined);
  if (paired && prompt === undefined && prompts === undefined) return promptFaults(options);
  const given = [
    ...(prompt === undefined ? [] : ["--prompt"]),
    ...(prompts === undefined ? [] : ["--prompts"]),
    ...(paired ? ["--clean and --corrupt, --pairs or --task"] : []),
  ];
  const faults: OptionFault[] = [];
  if (given.length !== 1) {
    faults.push({
      option: "prompts",
      found: given.length === 0 ? "no prompts" : given.join(", "),
      wanted:
        "prompts from one place: --prompts FILE, --prompt, --clean and --corrupt, --pairs FILE or --task NAME",
    });
  } else if (prompts !== undefined && (answer !== undefined || foil !== undefined)) {
    faults.push({ option: "prompts", found: "--answer or --foil beside it", wanted: "answers in the file" });
  }
  if (n !== undefined && task === undefined)
    faults.push({ option: "n", found: "no --task", wanted: "--task with it" });
  return faults;
}

/** One file of text. */
function textFaults(options: RedundancyOptions): OptionFault[] {
  if (options.text !== undefined) return [];
  return [{ option: "text", found: "none", wanted: "a file of running text", fix: "Give --text FILE." }];
}

function needs<T extends object>(
  options: T,
  pairs: readonly (readonly [keyof T & string, keyof T & string])[],
) {
  return pairs
    .filter(([option, other]) => options[option] !== undefined && options[other] === undefined)
    .map(
      ([option, other]): OptionFault => ({
        option,
        found: `no --${other}`,
        wanted: `--${other} with it`,
      }),
    );
}

function showFaults({ json, show }: OutputOptions): OptionFault[] {
  if (json !== "-" || show !== true) return [];
  return [{ option: "show", found: "--json -", wanted: "standard output for one of them" }];
}

/** Prompts come from exactly one place. */
function promptFaults(
  options: Pick<PatchOptions, "clean" | "corrupt" | "pairs" | "task" | "answer" | "foil" | "n">,
): OptionFault[] {
  const { clean, corrupt, pairs, task } = options;
  const typed = [clean, corrupt, options.answer, options.foil].some((value) => value !== undefined);
  const given = [
    ...(typed ? ["--clean and --corrupt"] : []),
    ...(pairs === undefined ? [] : ["--pairs"]),
    ...(task === undefined ? [] : ["--task"]),
  ];
  const faults: OptionFault[] = [];
  if (given.length !== 1) {
    faults.push({
      option: pairs === undefined ? (task === undefined ? "clean" : "task") : "pairs",
      found: given.length === 0 ? "no prompts" : given.join(", "),
      wanted: "prompts from one of --clean and --corrupt, --pairs FILE, --task NAME",
    });
  } else if (typed) {
    for (const option of ["clean", "corrupt"] as const) {
      if (options[option] === undefined) faults.push({ option, found: "none", wanted: "a prompt" });
    }
  }
  if (options.n !== undefined && task === undefined) {
    faults.push({ option: "n", found: "no --task", wanted: "--task with it" });
  }
  return faults;
}

/** What could be read of the options of a command, and everything that is wrong with them. */
export interface ReadOptions<C extends CommandName> {
  readonly options: OptionsOf[C];
  readonly faults: readonly Fault[];
}

/**
 * Reads the options of a command.
 * @param whereOf how the user gave an option, e.g. `by` → `--by`
 */
export function readOptions<C extends CommandName>(
  command: C,
  raw: Readonly<Record<string, unknown>>,
  whereOf: (option: string) => string,
): ReadOptions<C> {
  const { options, faults } = readFields<OptionsOf[C]>(fields[command], raw);
  // An option that could not be read still counts as given.
  const seen = new Set(faults.map(({ option }) => option));
  const unread = Object.fromEntries(Object.entries(raw).filter(([option]) => seen.has(option)));
  const others = together[command]({ ...unread, ...options }).filter(({ option }) => !seen.has(option));
  return {
    options,
    faults: [...faults, ...others].map(({ option, ...fault }) => ({ where: whereOf(option), ...fault })),
  };
}
