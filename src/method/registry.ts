/** @file The methods, one line each: what the library index, the command line and the server list. */

export interface Method {
  /** `attrs.method` of its results. */
  readonly name: string;
  /** Command that runs it. */
  readonly command: string;
  readonly summary: string;
  /** The papers it follows. */
  readonly source: string;
}

export const methods: readonly Method[] = [
  {
    name: "run",
    command: "run",
    summary: "The distribution of the next token, with or without edits, and greedy or sampled continuations",
    source: "the model itself",
  },
  {
    name: "activation-patching",
    command: "patch",
    summary: "What each part causes: its activation is replaced, exactly, and the behaviour measured again",
    source: "Vig et al. 2020; Meng et al. 2022; Zhang & Nanda 2024",
  },
];
