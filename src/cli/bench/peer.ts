/** @file A peer under measurement: a Python process that keeps its model open and answers one job a line. */
import { type ChildProcess, spawn } from "node:child_process";
import { basename, dirname, join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import type { Pair } from "../../model/pair.ts";
import { type EnvironmentName, PEERS_FOLDER } from "./python.ts";
import type { CellLabels } from "./rows.ts";

export interface PeerFacts {
  readonly label: string;
  readonly script: string;
  readonly environment: EnvironmentName;
  /** Cells of one forward pass: a sample of cells is a multiple of it. */
  readonly batch: number;
}

/** In the order of the table. */
export const PEER_NAMES = ["tl2", "tl4", "nnsight", "pyvene", "hooks", "batched"] as const;
export type PeerName = (typeof PEER_NAMES)[number];

export const PEERS: { readonly [N in PeerName]: PeerFacts } = {
  tl2: { label: "TransformerLens 2.16", script: "transformerlens.py", environment: "tl2", batch: 1 },
  tl4: { label: "TransformerLens 4", script: "transformerlens.py", environment: "base", batch: 1 },
  nnsight: { label: "nnsight", script: "nnsight_trace.py", environment: "base", batch: 30 },
  pyvene: { label: "pyvene", script: "pyvene_interventions.py", environment: "base", batch: 1 },
  hooks: { label: "Hugging Face hooks", script: "hf_hooks.py", environment: "base", batch: 1 },
  batched: { label: "Hugging Face, batches of 30", script: "hf_batched.py", environment: "base", batch: 30 },
};

/** What a peer measures; see bench/peers/protocol.py. */
export interface Job {
  readonly site: string;
  readonly dims: readonly string[];
  readonly cells: readonly CellLabels[];
  readonly whole: boolean;
  readonly pairs: readonly Pair[];
  /** What one script alone reads. */
  readonly details?: Readonly<Record<string, unknown>>;
}

export type Measured =
  | { readonly seconds: number; readonly values: readonly (readonly number[])[] }
  | { readonly skip: string };

export interface Peer {
  readonly versions: Readonly<Record<string, string>>;
  measure(job: Job): Promise<Measured>;
  close(): void;
}

/** Starts a peer and opens the model (a .gguf file or a directory) in it. */
export async function startPeer(
  { script }: Pick<PeerFacts, "script">,
  options: { readonly python: string; readonly model: string; readonly threads: number },
): Promise<Peer> {
  const child = spawn(options.python, [join(PEERS_FOLDER, script)], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, OMP_NUM_THREADS: String(options.threads) },
  });
  const errors = lastText(child);
  const lines = createInterface({ input: child.stdout });
  const ask = (message: unknown): Promise<Record<string, unknown>> => {
    const answer = nextLine(lines, errors);
    child.stdin.write(`${JSON.stringify(message)}\n`);
    return answer;
  };
  child.stdin.on("error", () => {}); // the process ended: reading its answer says so, with its last words
  const isFile = options.model.toLowerCase().endsWith(".gguf");
  const model = isFile
    ? { directory: dirname(options.model) || ".", gguf: basename(options.model) }
    : { directory: options.model, gguf: null };
  const opened = await ask({ model, threads: options.threads });
  return {
    versions: opened.versions as Readonly<Record<string, string>>,
    measure: ({ pairs, ...job }) =>
      ask({
        ...job,
        pairs: pairs.map(({ clean, corrupt, answers, foils }) => ({
          clean: clean.ids,
          corrupt: corrupt.ids,
          answer: answers[0]?.ids[0],
          foil: foils[0]?.ids[0],
        })),
      }) as Promise<Measured>,
    close: () => child.stdin.end(),
  };
}

function nextLine(lines: Interface, errors: () => string): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    const ended = (): void => {
      lines.off("line", read);
      reject(new Error(errors() || "the peer's process ended without a word"));
    };
    const read = (line: string): void => {
      lines.off("close", ended);
      resolve(JSON.parse(line) as Record<string, unknown>);
    };
    lines.once("line", read);
    lines.once("close", ended);
  });
}

const KEPT_CHARACTERS = 4000; // the end of a Python traceback

/** The last line of what a process wrote to standard error. */
function lastText(child: ChildProcess): () => string {
  let text = "";
  child.stderr?.on("data", (chunk) => {
    text = (text + String(chunk)).slice(-KEPT_CHARACTERS);
  });
  return () => text.trim().split("\n").at(-1) ?? "";
}
