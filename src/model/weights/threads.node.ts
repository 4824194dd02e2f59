/** @file Worker threads that read and decode weights. */

import { existsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { InputError } from "../../core/errors.ts";
import type { Threads } from "./threads.ts";
import { type Answer, answer, type Request } from "./work.node.ts";

/** As many as decode a model about as fast as memory can be had; each costs some 10 MB. */
const MAX_THREADS = 4;
/** Without work for so long, threads end; others start when there is work again. */
const PATIENCE_MS = 300;

interface Job {
  readonly request: Request;
  readonly done: (answer: Answer) => void;
  readonly failed: (error: Error) => void;
}

interface Hand {
  readonly worker: Worker;
  job: Job | undefined;
  /** Has answered once. */
  proven: boolean;
}

/**
 * Worker threads for weights; undefined where the package's worker is not there, as when it runs from its sources.
 * They start when this is called, wait without keeping the process alive, and end with `close`. If they cannot be
 * started, what they are asked for is done in the calling thread.
 *
 * @param count how many; by default one for each core, up to {@link MAX_THREADS}
 */
export function workerThreads(
  count: number = Math.min(MAX_THREADS, availableParallelism()),
): Threads | undefined {
  const entry = new URL("./thread.node.js", import.meta.url);
  if (!existsSync(entry)) return undefined;
  const waiting: Job[] = [];
  const hands = new Set<Hand>();
  let closing: Promise<unknown> | undefined;
  /** Whether threads can be had here. */
  let available = true;
  let patience: NodeJS.Timeout | undefined;

  /** Hands out what is waiting. */
  const give = (): void => {
    clearTimeout(patience);
    if (waiting.length > 0 && hands.size === 0 && available && closing === undefined) hire();
    if (hands.size === 0 && closing === undefined) {
      for (const { request, done, failed } of waiting.splice(0)) answer(request).then(done, failed);
    }
    for (const hand of hands) {
      const job = hand.job === undefined ? waiting.shift() : undefined;
      if (job === undefined) continue;
      hand.job = job;
      hand.worker.ref();
      const { request } = job;
      hand.worker.postMessage(request, request.kind === "decode" ? [...request.spare] : []);
    }
    if ([...hands].every(({ job }) => job === undefined)) rest();
  };

  /** Sends the threads away if nothing comes for a while: they take memory that the model may need. */
  const rest = (): void => {
    patience = setTimeout(() => {
      const idle = [...hands];
      hands.clear();
      for (const { worker } of idle) worker.terminate().catch(() => {});
    }, PATIENCE_MS).unref();
  };

  /** A thread that fails before its first answer could not be started; a later failure is an error of its job. */
  const lose = (hand: Hand, error: Error): void => {
    if (!hands.delete(hand)) return;
    const { job } = hand;
    if (!hand.proven) available = false;
    if (job !== undefined && (hand.proven || closing !== undefined)) job.failed(error);
    // What was handed over is gone with the thread.
    else if (job !== undefined) waiting.unshift({ ...job, request: withoutSpare(job.request) });
    give();
  };

  const hire = (): void => {
    for (let index = 0; index < count; index++) hireOne();
  };

  const hireOne = (): void => {
    // A few hundred objects is all that a thread keeps: the values are outside its heap.
    const worker = new Worker(entry, { resourceLimits: { maxYoungGenerationSizeMb: 4 } });
    const hand: Hand = { worker, job: undefined, proven: false };
    hands.add(hand);
    worker.on("message", (found: Answer) => {
      const { job } = hand;
      hand.job = undefined;
      hand.proven = true;
      worker.unref();
      job?.done(found);
      give();
    });
    worker.on("error", (error) => lose(hand, error));
    worker.on("exit", () => lose(hand, new Error("a thread that decodes weights has ended")));
    worker.unref(); // last: to listen is to keep the process alive
  };

  const ask = (request: Request): Promise<Answer> => {
    if (closing !== undefined) return Promise.reject(new Error("the model is closed"));
    return new Promise((done, failed) => {
      const job = { request, done, failed };
      // Nobody waits for the digest until all else is done.
      const before =
        request.kind === "decode" ? waiting.findIndex(({ request: { kind } }) => kind === "sha256") : -1;
      waiting.splice(before < 0 ? waiting.length : before, 0, job);
      give();
    });
  };

  hire();
  return {
    async decode(file, tensors, spare) {
      const found = unpack(await ask({ kind: "decode", file, tensors, spare }));
      if (found.kind !== "values") throw new Error(`${found.kind} for values`);
      return found.values;
    },
    async sha256(files) {
      const found = unpack(await ask({ kind: "sha256", files }));
      if (found.kind !== "digest") throw new Error(`${found.kind} for a digest`);
      return found.digest;
    },
    async close() {
      clearTimeout(patience);
      closing ??= Promise.all([...hands].map(({ worker }) => worker.terminate()));
      await closing;
      for (const { failed } of waiting.splice(0)) failed(new Error("the model is closed"));
    },
  };
}

const withoutSpare = (request: Request): Request =>
  request.kind === "decode" ? { ...request, spare: [] } : request;

function unpack(found: Answer): Extract<Answer, { kind: "values" | "digest" }> {
  if (found.kind === "faults") throw new InputError(found.faults);
  if (found.kind === "error") throw new Error(found.message);
  return found;
}
