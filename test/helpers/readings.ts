/** @file Logits of edited runs, by the sweep and by the plain path. */

import type { Model } from "../../src/model/model.ts";
import type { Edit } from "../../src/run/edit.ts";
import type { EmbeddingOffset } from "../../src/run/ends.ts";
import { unembed } from "../../src/run/ends.ts";
import type { Cache } from "../../src/run/forward.ts";
import { forward } from "../../src/run/forward.ts";
import type { SiteName } from "../../src/run/site.ts";
import { sweep } from "../../src/run/sweep.ts";
import type { SweepInput, SweepOptions, Variant } from "../../src/run/variant.ts";

/** Runs by their tokens and the positions at which all logits are read. */
export interface RunSpec {
  readonly ids: readonly number[];
  /** The last position if absent. */
  readonly read?: readonly number[];
  readonly offset?: EmbeddingOffset;
}

/** Logits [position read, vocabulary]. */
export type Logits = readonly Float64Array[];

export interface Swept {
  /** Of each variant. */
  readonly logits: readonly Logits[];
  /** Of each variant: whether it was not run. */
  readonly exact: readonly boolean[];
  /** Of each run by itself. */
  readonly runs: readonly Logits[];
}

const readOf = ({ ids, read = [ids.length - 1] }: RunSpec): readonly number[] => read;

/** All variants through the sweep; a variant that is reported twice, or not at all, is an error. */
export async function swept(
  model: Model,
  { runs, variants }: { readonly runs: readonly RunSpec[]; readonly variants: readonly Variant[] },
  options: Pick<SweepOptions, "batchTokens" | "stateBytes"> = {},
): Promise<Swept> {
  const logits = new Map<number, Logits>();
  const exact: boolean[] = [];
  const own = new Map<number, Logits>();
  const input: SweepInput = {
    runs: runs.map((run) => ({
      ...run,
      read: readOf(run).map((position) => ({ position, readout: { logits: true } })),
    })),
    count: variants.length,
    variant: (index) => variants[index],
  };
  const copy = (reading: readonly { readonly logits?: ArrayLike<number> }[]): Logits =>
    reading.map((position) => Float64Array.from(position.logits ?? []));
  await sweep(model, input, {
    ...options,
    onRun(run, reading) {
      if (own.has(run)) throw new Error(`run ${run} was read twice`);
      own.set(run, copy(reading));
    },
    onReading(index, reading, unchanged) {
      if (logits.has(index)) throw new Error(`variant ${index} was read twice`);
      logits.set(index, copy(reading));
      exact[index] = unchanged;
    },
  });
  const all = <T>(found: ReadonlyMap<number, T>, count: number): T[] =>
    Array.from({ length: count }, (_, index) => {
      const one = found.get(index);
      if (one === undefined) throw new Error(`${index} was not read`);
      return one;
    });
  return { logits: all(logits, variants.length), exact, runs: all(own, runs.length) };
}

/** The unedited runs with every site that the edits take values from. */
export async function sources(
  model: Model,
  runs: readonly RunSpec[],
  edits: readonly Edit[],
): Promise<readonly Cache[]> {
  const sites = [...new Set<SiteName>(edits.map(({ site }) => site))];
  const { caches } = await forward(
    model,
    runs.map(({ ids }) => ids),
    { capture: sites.map((site) => ({ site })) },
  );
  return caches;
}

/** The same by whole passes of the plain path, all variants in one batch. */
export async function plain(
  model: Model,
  { runs, variants }: { readonly runs: readonly RunSpec[]; readonly variants: readonly Variant[] },
): Promise<readonly Logits[]> {
  const edits = variants.map((variant) => variant.edits);
  const specs = variants.map(({ run }) => runs[run]);
  const { residuals } = await forward(
    model,
    specs.map(({ ids }) => ids),
    { edits, runs: await sources(model, runs, edits.flat()) },
  );
  const { dModel, vocabulary } = model.architecture;
  const logits: Logits[] = [];
  for (const [index, residual] of residuals.entries()) {
    const rows = readOf(specs[index]).map((position) =>
      residual.subarray(position * dModel, (position + 1) * dModel),
    );
    const stacked = model.backend.allocate(rows.length * dModel);
    for (const [row, values] of rows.entries()) stacked.set(values, row * dModel);
    const found = await unembed(model, stacked, { logits: true });
    logits.push(
      rows.map((_, row) =>
        Float64Array.from(found.logits ?? []).slice(row * vocabulary, (row + 1) * vocabulary),
      ),
    );
  }
  return logits;
}

/** Largest absolute difference; infinite if anything is not a number. */
export function distance(a: Logits, b: Logits): number {
  if (a.length !== b.length) throw new Error(`${a.length} and ${b.length} positions`);
  let worst = 0;
  for (const [row, values] of a.entries()) {
    for (const [i, value] of values.entries()) {
      const off = Math.abs(value - b[row][i]);
      worst = Math.max(worst, Number.isNaN(off) ? Number.POSITIVE_INFINITY : off);
    }
  }
  return worst;
}

/** Largest absolute logit. */
export function magnitude(logits: Logits): number {
  return logits.reduce(
    (worst, row) => row.reduce((most, value) => Math.max(most, Math.abs(value)), worst),
    0,
  );
}
