/** @file `crosspatch bench`: the speed table, every row measured in the same run as its peers. */
import { mkdir, writeFile } from "node:fs/promises";
import { cpus, homedir, loadavg, release, totalmem, type } from "node:os";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { inputError } from "../core/errors.ts";
import { typedFields } from "../job/fields.ts";
import type { LoadedModel } from "../model/load.node.ts";
import { load } from "../model/load.node.ts";
import type { PairSpec } from "../model/pair-spec.ts";
import { VERSION } from "../version.ts";
import { ATP, atpRow } from "./bench/atp.ts";
import { EAP, eapRow } from "./bench/eap.ts";
import { edgesRow } from "./bench/edges.ts";
import { type Growth, growth, growthFigure } from "./bench/growth.ts";
import { compare, finish, plainRival, type Rival, type Row, type RowResult, start } from "./bench/measure.ts";
import { type BenchOptions, benchOptions, CHOICES } from "./bench/options.ts";
import { PEER_NAMES, PEERS, type Peer, type PeerFacts, startPeer } from "./bench/peer.ts";
import { inProcess, type ProbeTask, probe } from "./bench/probe.ts";
import { environment } from "./bench/python.ts";
import { agrees, type BenchResult, type MemoryResult, markdown, text } from "./bench/report.ts";
import { matmulRate } from "./bench/roofline.ts";
import { KINDS, ROW_KINDS, seededPairs } from "./bench/rows.ts";
import { seededGpt2 } from "./bench/seeded-gpt2.ts";
import { ROME, traceRow } from "./bench/tracing.ts";
import type { Io } from "./io.ts";

/** The pair of the headline rows: 14 tokens of SmolLM2's. */
const IOI: PairSpec = {
  clean: "When Mary and John went to the store, John gave a drink to",
  corrupt: "When Mary and John went to the store, Mary gave a drink to",
  answer: " Mary",
  foil: " John",
};
const SMOLLM = "SmolLM2-135M";
const SEEDED = "GPT-2-small-shaped";
const BUDGET_BYTES = 300e6;
const MATMUL_SECONDS = 3;

export function addBench(program: Command, io: Io): void {
  program
    .command("bench")
    .argument(
      "[model]",
      "SmolLM2-135M as .gguf file or directory; without it only the seeded model is measured",
    )
    .summary("the project's own speed table, beside its peers where there is a Python for them")
    .description(
      "Times sweeps in turn with TransformerLens, nnsight, pyvene and Hugging Face loops, in environments that are made " +
        "when first needed, and compares every value. Without Python: crosspatch's own whole passes and this machine's " +
        "matmul rate. Ends with 1 if any value differs.",
    )
    .option(
      "--rows <which>",
      "headline (every cell by every peer), short (the same rows by samples of cells), all, or none but those asked for below",
      "headline",
    )
    .option("--peers <list>", `all, none, or some of ${CHOICES.join(",")}`, "all")
    .option("--repeats <n>", "measurements of each, taking turns", "3")
    .option("--sample <n>", "cells that a peer runs of a row too long for it", "30")
    .option("--threads <n>", "threads of every program under measurement", "2")
    .option("--python <program>", "the Python that environments are made with (3.10 or later)")
    .option("--edges", "every edge of the seeded model patched by itself: minutes", false)
    .option("--eap", "estimates of every edge of the seeded model, beside the same on TransformerLens", false)
    .option(
      "--atp",
      "estimates of every node of the given model, beside the same on PyTorch's autograd",
      false,
    )
    .option("--growth", "time and memory against layers, tokens, cells and pairs", false)
    .option("--no-memory-test", "leave out peak memory and the run under a budget")
    .option("--out <directory>", "where results are written", join("bench", "results"))
    .option(
      "--cache <directory>",
      "where environments and the seeded model are kept",
      join(io.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "crosspatch", "bench"),
    )
    .addOption(new Option("--probe <task>").hideHelp())
    .action(async (model: string | undefined, given: Readonly<Record<string, unknown>>) => {
      const options = typedFields(benchOptions, given);
      if (options.probe === undefined) await bench(model, { options, io });
      else io.stdout.write(JSON.stringify(await probe(JSON.parse(options.probe) as ProbeTask)));
    });
}

interface Bench {
  readonly options: BenchOptions;
  readonly io: Io;
}

/** A model of the table with its rows. */
interface Subject {
  readonly name: string;
  readonly path: string;
  readonly model: LoadedModel;
  readonly rows: readonly Row[];
}

async function bench(path: string | undefined, { options, io }: Bench): Promise<void> {
  const say = (line: string): void => {
    io.stderr.write(`${line}\n`);
  };
  if (options.atp && path === undefined) {
    throw inputError(
      "--atp",
      "no model",
      "SmolLM2-135M as .gguf file or directory",
      "Name it before the options.",
    );
  }
  const busy = loadavg()[0] ?? 0;
  const { cache, threads } = options;
  const subjects: Subject[] = [];
  if (path !== undefined) {
    const model = await load(path, { threads });
    subjects.push({
      name: SMOLLM,
      path,
      model,
      rows: rowsOf(model, options, { pair: model.pair(IOI) }),
    });
  }
  if (path === undefined || options.rows === "all" || options.edges || options.eap) {
    say("the seeded model of GPT-2 small's shape");
    const directory = await seededGpt2(cache, { layers: 12 });
    const model = await load(directory, { threads });
    const isWanted = path === undefined || options.rows === "all";
    const rows = isWanted ? rowsOf(model, options, {}) : [];
    subjects.push({ name: SEEDED, path: directory, model, rows });
  }
  const [first] = subjects;
  if (first === undefined) throw new Error("nothing to measure");
  const matmul = await matmulRate(first.model.backend, MATMUL_SECONDS);

  const software: Record<string, string> = { crosspatch: VERSION, node: process.versions.node };
  const leftOut: Record<string, string> = {};
  const rows: RowResult[] = [];
  for (const subject of subjects) {
    rows.push(...(await measure(subject, { options, say, matmul, software, leftOut })));
    if (options.edges && subject.name === SEEDED) {
      rows.push(await edgesRow(subject.model, { name: SEEDED, matmul, options: { ...options, say } }));
    }
    rows.push(...(await rowsBeside(subject, { options, say, matmul, leftOut })));
    software.engine = subject.model.backend.version;
    await subject.model.close();
  }
  const memory = options.memoryTest && path !== undefined ? [await peakMemory(path, threads)] : [];
  const grown = options.growth ? await growth({ cache, threads, say }) : undefined;

  const [cpu] = cpus();
  const result: BenchResult = {
    format: "crosspatch.bench/1",
    date: new Date().toISOString().slice(0, 10),
    machine: {
      cpu: cpu?.model ?? "unknown",
      cores: cpus().length,
      memoryBytes: totalmem(),
      system: `${type()} ${release()}`,
      load: busy,
    },
    threads,
    repeats: options.repeats,
    software,
    matmul,
    rows,
    memory,
    growth: grown,
    left_out: leftOut,
  };
  await write(result, { directory: options.out, growth: grown });
  io.stdout.write(text(result));
  if (!agrees(result)) throw new Error("values differ: see the rows marked DIFFERS");
}

/** The headline rows are whole; the others are on seeded pairs, of which peers run samples. */
function rowsOf(
  model: LoadedModel,
  { rows }: BenchOptions,
  { pair }: { readonly pair?: ReturnType<LoadedModel["pair"]> },
): Row[] {
  if (rows === "none") return [];
  const headline =
    pair === undefined
      ? []
      : (["resid_pre", "heads"] as const).map(
          (kind): Row => ({ kind, pairs: [pair], whole: rows !== "short" }),
        );
  if (rows !== "all" && pair !== undefined) return headline;
  const { vocabulary } = model.architecture;
  const sizes =
    rows === "headline"
      ? [{ tokens: 14, pairs: 1 }]
      : [14, 128].flatMap((tokens) => [1, 20].map((pairs) => ({ tokens, pairs })));
  const seeded = sizes.flatMap((size) => {
    const pairs = seededPairs(vocabulary, size);
    return ROW_KINDS.map((kind): Row => ({ kind, pairs, whole: false }));
  });
  return [...headline, ...seeded];
}

async function measure(
  { name, path, model, rows }: Subject,
  how: {
    readonly options: BenchOptions;
    readonly say: (line: string) => void;
    readonly matmul: number;
    readonly software: Record<string, string>;
    readonly leftOut: Record<string, string>;
  },
): Promise<RowResult[]> {
  const { options, say, matmul, software, leftOut } = how;
  const running = rows.map((row) => start(model, row));
  const against = async (rival: Rival): Promise<void> => {
    say(`${name} against ${rival.label}`);
    for (const one of running) await compare(model, { running: one, rival }, { ...options, say });
  };
  if (rows.length > 0) await against(plainRival(model));
  for (const peerName of PEER_NAMES.filter((name) => rows.length > 0 && options.peers.includes(name))) {
    const { label, batch, environment: needed } = PEERS[peerName];
    const found = await environment(needed, { cache: options.cache, python: options.python, say });
    if ("missing" in found) {
      leftOut[label] = found.missing;
      continue;
    }
    try {
      const peer = await startPeer(PEERS[peerName], {
        python: found.python,
        model: path,
        threads: options.threads,
      });
      for (const [library, version] of Object.entries(peer.versions))
        software[`${library} (${label})`] = version;
      await against({
        name: peerName,
        label,
        versions: peer.versions,
        batch,
        ahead: 1, // the clean run
        measure: ({ kind, ...job }) => peer.measure({ site: KINDS[kind].site, dims: KINDS[kind].by, ...job }),
      });
      peer.close();
    } catch (error) {
      leftOut[label] = (error as Error).message;
      say(`${label} is left out: ${leftOut[label]}`);
    }
  }
  return running.map((one) => finish(model, { running: one, name, matmul }));
}

/** A row that has a peer of its own, where there is a Python for it. */
async function beside(
  facts: Pick<PeerFacts, "label" | "script" | "environment">,
  { name, path }: Subject,
  how: {
    readonly options: BenchOptions;
    readonly say: (line: string) => void;
    readonly leftOut: Record<string, string>;
    readonly row: (peer: Peer) => Promise<RowResult>;
  },
): Promise<RowResult[]> {
  const { options, say, leftOut, row } = how;
  const { label } = facts;
  say(`${name} against ${label}`);
  const found = await environment(facts.environment, {
    cache: options.cache,
    python: options.python,
    say,
  });
  if ("missing" in found) {
    leftOut[label] = found.missing;
    return [];
  }
  const peer = await startPeer(facts, { python: found.python, model: path, threads: options.threads });
  try {
    return [await row(peer)];
  } catch (error) {
    leftOut[label] = (error as Error).message;
    return [];
  } finally {
    peer.close();
  }
}

/** The rows with peers of their own: each on the model that it was asked of. */
async function rowsBeside(
  subject: Subject,
  { options, say, leftOut, matmul }: Omit<Parameters<typeof measure>[1], "software">,
): Promise<RowResult[]> {
  const { name, path, model } = subject;
  const { threads } = options;
  const how = { options, say, leftOut };
  const common = { name, matmul, options: { ...options, say } };
  const rows: RowResult[] = [];
  if (name === SEEDED && options.eap) {
    const task: ProbeTask = { model: path, kind: "eap", threads, on: { tokens: 0, pairs: 0 } };
    const row = async (peer: Peer): Promise<RowResult> => {
      const { peakBytes } = await inProcess(task);
      return await eapRow(model, { ...common, peer, peakBytes });
    };
    rows.push(...(await beside(EAP, subject, { ...how, row })));
  }
  if (name === SMOLLM && options.peers.includes("rome")) {
    const row = (peer: Peer): Promise<RowResult> => traceRow(model, { ...common, peer });
    rows.push(...(await beside(ROME, subject, { ...how, row })));
  }
  if (name === SMOLLM && options.atp) {
    const row = (peer: Peer): Promise<RowResult> => atpRow(model, { ...common, peer, pair: model.pair(IOI) });
    rows.push(...(await beside(ATP, subject, { ...how, row })));
  }
  return rows;
}

async function peakMemory(model: string, threads: number): Promise<MemoryResult> {
  const task: ProbeTask = { model, kind: "resid_pre", threads, on: { spec: IOI } };
  const free = await inProcess(task);
  const tight = await inProcess({ ...task, memory: BUDGET_BYTES });
  return {
    model: SMOLLM,
    row: KINDS.resid_pre.label,
    weightBytes: free.weightBytes,
    peakBytes: free.peakBytes,
    seconds: free.seconds,
    budget: {
      bytes: BUDGET_BYTES,
      peakBytes: tight.peakBytes,
      seconds: tight.seconds,
      identical: JSON.stringify(free.values) === JSON.stringify(tight.values),
    },
  };
}

async function write(
  result: BenchResult,
  { directory, growth: grown }: { readonly directory: string; readonly growth: Growth | undefined },
): Promise<void> {
  const machine = result.machine.cpu
    .replace(/[^A-Za-z0-9]+/g, "-")
    .replace(/^-|-$/g, "")
    .toLowerCase();
  const base = `${result.date}-${machine}-${result.machine.cores}-cores`;
  await mkdir(directory, { recursive: true });
  const figure = grown === undefined ? undefined : `${base}-growth.svg`;
  if (grown !== undefined && figure !== undefined) {
    const { svg } = await import("../plot/svg.ts"); // Vega, which no other command waits for
    await writeFile(join(directory, figure), await svg(growthFigure(grown)));
  }
  await writeFile(join(directory, `${base}.json`), `${JSON.stringify(result, null, 2)}\n`);
  await writeFile(join(directory, `${base}.md`), markdown(result, { figure }));
}
