/**
 * @file The directory of a run: whose it is, what an interrupted run has left in it, and when it is done.
 *
 * `experiment.json` comes first and says what the directory is for; `waves.log` grows while waves finish; the result
 * comes last, and the log goes when it is there. Whatever moment a process is killed at, the next one finds either
 * nothing, or whole waves of the same work, or the whole result.
 */
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { InputError, inputError } from "../core/errors.ts";
import { type Experiment, experimentJson } from "../job/experiment.ts";
import type { Kept } from "../method/measure.ts";
import { fromJson } from "../result/json.ts";
import { readParquet } from "../result/parquet.node.ts";
import { openRecords, type RecordFile } from "../result/records.node.ts";
import type { Dataset, Json } from "../result/result.ts";
import { isTemporary, writeWhole } from "../result/store.node.ts";
import { intoDirectory } from "./paths.ts";

const EXPERIMENT = "experiment.json";
const LOG = "waves.log";
const [JSON_RESULT, PARQUET_RESULT] = ["result.json", "result.parquet"] as const;
const ADVICE = "Name another directory, or remove this one.";
/** Larger ones are no result of ours: those of many cells are Parquet. */
const MAX_JSON_BYTES = 256 * 2 ** 20;
const MAX_EXPERIMENT_BYTES = 16 * 2 ** 20;

/** A run directory in use. */
export interface RunDirectory {
  /** Opens what it keeps of the work. @throws InputError where it is of other work. */
  keep(work: string): Promise<Kept>;
  /** Told apart from other work by this, once {@link keep} was called: sha256 of all that the numbers follow from. */
  readonly fingerprint: () => string | undefined;
  /** Whole waves in the log. */
  readonly waves: () => number;
  /** The result is written: what was kept of the way there goes. */
  finish(): Promise<void>;
  /** Releases the log, and leaves it. */
  close(): Promise<void>;
}

/**
 * Takes a directory for an experiment; makes and writes nothing yet.
 * @throws InputError where it is another experiment's.
 */
export async function takeDirectory(
  path: string,
  { experiment, where }: { readonly experiment: Experiment; readonly where: string },
): Promise<RunDirectory> {
  const own: Json = experimentJson(await intoDirectory(experiment, path));
  const refused = (found: string, wanted: string): InputError => inputError(where, found, wanted, ADVICE);
  const there = await experimentIn(path);
  // Held against what is read back of its own text; and value by value, as what is there may nest without end.
  if (there !== undefined && !isDeepStrictEqual(there, JSON.parse(JSON.stringify(own)))) {
    throw refused(`${path}, a run of another experiment`, "a new directory, or one of the same experiment");
  }

  let log: RecordFile | undefined;
  let fingerprint: string | undefined;
  let waves = 0;
  return {
    async keep(work) {
      fingerprint = createHash("sha256").update(work).digest("hex");
      const result = await resultIn(path);
      const other = `${path}, a run of the same options, but of other prompts, another model or another version`;
      if (result !== undefined) {
        if (result.attrs.fingerprint !== fingerprint) throw refused(other, "a run of the same work");
        return { kind: "finished", result };
      }
      await mkdir(path, { recursive: true });
      if (there === undefined) {
        await writeWhole(join(path, EXPERIMENT), `${JSON.stringify(own, undefined, 2)}\n`);
      }
      await removeTemporaries(path);
      log = await openRecords(join(path, LOG), fingerprint);
      if (log === undefined) throw refused(other, "a run of the same work");
      const { next, append } = log;
      return {
        kind: "records",
        log: {
          async next(bytes) {
            const record = await next(bytes);
            if (record !== undefined) waves += 1;
            return record;
          },
          async append(record) {
            await append(record);
            waves += 1;
          },
        },
      };
    },
    fingerprint: () => fingerprint,
    waves: () => waves,
    async finish() {
      await log?.close();
      log = undefined;
      await rm(join(path, LOG), { force: true });
    },
    async close() {
      await log?.close();
      log = undefined;
    },
  };
}

/** The experiment that a directory is of. @throws InputError where its file is there and cannot be read. */
async function experimentIn(path: string): Promise<unknown> {
  return await readJson(join(path, EXPERIMENT), MAX_EXPERIMENT_BYTES, "the experiment of a run directory");
}

/** @throws InputError where the result is there and cannot be read. */
async function resultIn(path: string): Promise<Dataset | undefined> {
  const [json, parquet] = [join(path, JSON_RESULT), join(path, PARQUET_RESULT)];
  const wanted = "the result of a run";
  const value = await readJson(json, MAX_JSON_BYTES, wanted);
  if (value !== undefined) return await advised(() => fromJson(value, json));
  if ((await stat(parquet).catch(() => undefined)) === undefined) return undefined;
  return await advised(() =>
    readParquet(parquet).catch((error: unknown) => {
      if (error instanceof InputError) throw error;
      throw inputError(parquet, `what cannot be read (${(error as Error).message.slice(0, 100)})`, wanted);
    }),
  );
}

/** The value of a file of JSON, if it is there. */
async function readJson(file: string, mostBytes: number, wanted: string): Promise<unknown> {
  const found = await stat(file).catch(() => undefined);
  if (found === undefined) return undefined;
  if (!found.isFile()) throw inputError(file, "no file", wanted, ADVICE);
  if (found.size > mostBytes)
    throw inputError(file, `${found.size} bytes`, `${wanted}, at most ${mostBytes} bytes`, ADVICE);
  const text = await readFile(file, "utf8");
  try {
    return JSON.parse(text);
  } catch (error) {
    throw inputError(file, `what is not JSON (${(error as Error).message.slice(0, 100)})`, wanted, ADVICE);
  }
}

/** Says of every fault of a file in a run directory what to do about it. */
async function advised<T>(read: () => T | Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new InputError(error.faults.map((fault) => ({ ...fault, fix: ADVICE })));
  }
}

/** Removes what a killed process was writing when it was killed. */
async function removeTemporaries(path: string): Promise<void> {
  for (const directory of [path, join(path, "figures")]) {
    const names = await readdir(directory).catch((): string[] => []);
    for (const name of names.filter(isTemporary)) await rm(join(directory, name), { force: true });
  }
}
