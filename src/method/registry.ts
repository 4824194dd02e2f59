/** @file The methods, one line each: what the library index, the command line and the server list. */

export interface Method {
  /** `attrs.method` of its results. */
  readonly name: string;
  /** Command that runs it. */
  readonly command: string;
  readonly summary: string;
  /** The papers it follows. */
  readonly source?: string;
}

export const methods: readonly Method[] = [
  {
    name: "run",
    command: "run",
    summary: "the next token's distribution, with or without edits, and continuations",
  },
  {
    name: "activation-patching",
    command: "patch",
    summary: "exact activation patching: what each part causes",
    source: "Vig et al. 2020; Meng et al. 2022; Zhang & Nanda 2024",
  },
  {
    name: "attribution-patching",
    command: "attribute",
    summary: "attribution patching: every effect estimated from gradients, the largest checked exactly",
    source: "Nanda 2023; Kramár et al. 2024 (AtP*); Sundararajan et al. 2017 (integrated gradients)",
  },
  {
    name: "causal-tracing",
    command: "trace",
    summary: "causal tracing: which state, restored after noise on the subject, brings a fact back",
    source: "Meng et al. 2022 (ROME)",
  },
  {
    name: "corruptions",
    command: "corruptions",
    summary:
      "noise, replacement, mean and zero side by side: where they find the same, how far off the data they are",
    source: "Zhang & Nanda 2024; Meng et al. 2022 (noise); Ledoit & Wolf 2004 (shrinkage)",
  },
  {
    name: "direct",
    command: "direct",
    summary: "direct logit attribution: every component's exact share of a logit; the logit lens",
    source: "Elhage et al. 2021; nostalgebraist 2020",
  },
  {
    name: "edge-attribution",
    command: "edges",
    summary:
      "edge attribution: what each path between two nodes does, estimated for all, the largest exactly",
    source:
      "Syed et al. 2023 (EAP); Hanna et al. 2024 (EAP-IG); Mueller et al. 2025 (MIB); Goldowsky-Dill et al. 2023 (exact)",
  },
  {
    name: "attention",
    command: "attention",
    summary: "attention: patterns, and which heads look back one token, for copies, for names; which copy",
    source:
      "Elhage et al. 2021; Olsson et al. 2022 (induction heads); Kobayashi et al. 2020 (value-weighted)",
  },
  {
    name: "hydra",
    command: "hydra",
    summary: "self-repair: what makes up for an ablated part, and heads that step in for others",
    source: "McGrath et al. 2023 (Hydra effect); Rushing & Nanda 2024; Wang et al. 2022 (backup heads)",
  },
  {
    name: "mcq",
    command: "mcq",
    summary: "multiple choice: which parts find the letter of the right answer, and by what code",
    source: "Lieberum et al. 2023 (Chinchilla)",
  },
  {
    name: "redundancy",
    command: "redundancy",
    summary: "delete, exchange, repeat and reverse layers; what later layers make up for",
    source: "McGrath et al. 2023; Men et al. 2024; Sun et al. 2024",
  },
];

/** The method that a command runs. */
export function methodOf(command: string): Method {
  const method = methods.find((known) => known.command === command);
  if (method === undefined) throw new RangeError(`no method has the command ${command}`);
  return method;
}
