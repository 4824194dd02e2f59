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
import { type Fault, InputError } from "../core/errors.ts";
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
const RESULTS = ["result.json", "result.parquet"] as const;
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
  const refused = (found: string, wanted: string): InputError =>
    new InputError([
      { where, found, wanted, fix: "Name another directory, or remove this one." } satisfies Fault,
    ]);
  const there = await experimentIn(path);
  if (there !== undefined && JSON.stringify(there) !== JSON.stringify(own)) {
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

/** The experiment that a directory is of; nothing readable counts as another one. */
async function experimentIn(path: string): Promise<unknown> {
  const file = join(path, EXPERIMENT);
  const found = await stat(file).catch(() => undefined);
  if (found === undefined) return undefined;
  if (!found.isFile() || found.size > MAX_EXPERIMENT_BYTES) return null;
  try {
    return JSON.parse(await readFile(file, "utf8"));
  } catch {
    return null;
  }
}

async function resultIn(path: string): Promise<Dataset | undefined> {
  for (const name of RESULTS) {
    const file = join(path, name);
    const found = await stat(file).catch(() => undefined);
    if (found === undefined) continue;
    if (name === "result.parquet") return await readParquet(file);
    if (found.size > MAX_JSON_BYTES) {
      throw new InputError([
        { where: file, found: `${found.size} bytes`, wanted: `at most ${MAX_JSON_BYTES}` },
      ]);
    }
    return fromJson(JSON.parse(await readFile(file, "utf8")), file);
  }
  return undefined;
}

/** Removes what a killed process was writing when it was killed. */
async function removeTemporaries(path: string): Promise<void> {
  for (const directory of [path, join(path, "figures")]) {
    const names = await readdir(directory).catch((): string[] => []);
    for (const name of names.filter(isTemporary)) await rm(join(directory, name), { force: true });
  }
}
