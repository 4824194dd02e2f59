/** @file What `bench` is asked for. */
import { z } from "zod";
import { choice, flag, type OptionReaders, text, whole } from "../../job/fields.ts";
import { machine } from "../../job/options/shared.ts";
import { PEER_NAMES, type PeerName } from "./peer.ts";

/** Peers of the rows of patching, and that of the row of causal tracing. */
type Choice = PeerName | "rome";
export const CHOICES: readonly Choice[] = [...PEER_NAMES, "rome"];

/** By then the spread of the measurements is known to a few percent. */
const MAX_REPEATS = 100;

export interface BenchOptions {
  readonly rows: "headline" | "short" | "all" | "none";
  readonly peers: readonly Choice[];
  readonly repeats: number;
  readonly sample: number;
  readonly threads: number;
  readonly python?: string;
  readonly edges: boolean;
  readonly eap: boolean;
  readonly atp: boolean;
  readonly growth: boolean;
  readonly memoryTest: boolean;
  readonly out: string;
  readonly cache: string;
  /** A task as JSON, in a process of its own. */
  readonly probe?: string;
  readonly debug?: boolean;
}

const PEERS = `all, none, or some of ${CHOICES.join(", ")}, separated by commas, each once`;

const peers: z.ZodType<readonly Choice[]> = z.preprocess(
  (value) => {
    if (value === "all") return CHOICES;
    if (value === "none") return [];
    return typeof value === "string" ? value.split(",") : value;
  },
  z
    .array(z.enum(CHOICES, { error: PEERS }), { error: PEERS })
    .refine((list) => new Set(list).size === list.length, { error: PEERS }),
);

export const benchOptions: OptionReaders<BenchOptions> = {
  rows: { read: choice(["headline", "short", "all", "none"]) },
  peers: { read: peers },
  repeats: { read: whole(1, MAX_REPEATS) },
  sample: { read: whole(1) },
  threads: machine.threads,
  python: { read: text },
  edges: { read: flag },
  eap: { read: flag },
  atp: { read: flag },
  growth: { read: flag },
  memoryTest: { read: flag },
  out: { read: text },
  cache: { read: text },
  probe: { read: text },
  debug: { read: flag },
};
