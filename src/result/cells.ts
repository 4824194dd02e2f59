/** @file Reading a dataset by label: sites and the variables that go with them, cells, effects. */
import { type Fault, inputError, refuse } from "../core/errors.ts";
import { sizeOf } from "../core/tensor.ts";
import type { Dataset, Variable } from "./result.ts";

/** A label of a dim: a layer, a position, the name of an edge. */
export type Label = string | number;

/** A cell of a site, with what the variables named after the site say of it. */
export interface Cell {
  /** `<site>`: NaN where it was not computed. */
  readonly value: number;
  /** `<site>_normalized`: 0 to 1 between the two baselines. */
  readonly normalized?: number;
  /** `<site>_effect`: difference from the base run. */
  readonly effect?: number;
  /**
   * `<site>_effect_ci_low`, `<site>_effect_ci_high`: 95 % interval of the effect, where every sample is compared with its
   * own base run. What samples have in common is not in it, as it is in that of the value.
   */
  readonly effectCiLow?: number;
  readonly effectCiHigh?: number;
  /** `<site>_ci_low`, `<site>_ci_high`: 95 % interval of the value. */
  readonly ciLow?: number;
  readonly ciHigh?: number;
  /** `<site>_exact`: the exact effect of an estimated cell, where it was verified. */
  readonly exact?: number;
  /** `<site>_exact_ci_low`, `<site>_exact_ci_high`: its 95 % interval. */
  readonly exactCiLow?: number;
  readonly exactCiHigh?: number;
}

const companions: { readonly [K in Exclude<keyof Cell, "value">]: string } = {
  normalized: "_normalized",
  effect: "_effect",
  effectCiLow: "_effect_ci_low",
  effectCiHigh: "_effect_ci_high",
  ciLow: "_ci_low",
  ciHigh: "_ci_high",
  exact: "_exact",
  exactCiLow: "_exact_ci_low",
  exactCiHigh: "_exact_ci_high",
};

/**
 * `<site>_per_pair`: the values of each pair, of which those of the site are the means; so have `<site>_effect` and others
 * theirs. Dims `pair`, ….
 */
const BY_PAIR = "_per_pair";

/**
 * Numeric variables that are not about another one: `resid_pre`, but neither `resid_pre_normalized` nor
 * `resid_pre_per_pair`, nor one whose attribute `detail` says so.
 */
export function sites(dataset: Dataset): string[] {
  return Object.keys(dataset.dataVars).filter((name) => {
    if (isDetail(dataset, name) || isByPair(dataset, name)) return false;
    const isCompanion = Object.values(companions).some((suffix) => isAbout(dataset, name, suffix));
    return !isCompanion && isNumeric(dataset.dataVars[name]);
  });
}

/** What figures show: the sites, each followed by its values by pair where the result has them and they are no detail. */
export function drawnVariables(dataset: Dataset): string[] {
  return sites(dataset).flatMap((site) => {
    const byPair = site + BY_PAIR;
    return isByPair(dataset, byPair) && !isDetail(dataset, byPair) ? [site, byPair] : [site];
  });
}

/** Whether a variable is `<site>_per_pair` of another one. */
export function isByPair(dataset: Dataset, name: string): boolean {
  return Object.hasOwn(dataset.dataVars, name) && isAbout(dataset, name, BY_PAIR);
}

/** Whether a name is that of another variable with a suffix. */
function isAbout({ dataVars }: Dataset, name: string, suffix: string): boolean {
  return name.endsWith(suffix) && Object.hasOwn(dataVars, name.slice(0, -suffix.length));
}

function isDetail({ dataVars }: Dataset, name: string): boolean {
  return dataVars[name]?.attrs.detail === true;
}

function isNumeric(variable: Variable | undefined): boolean {
  return variable !== undefined && typeof (variable.data[0] ?? Number.NaN) === "number";
}

/**
 * The cell of a variable at one label per dim, e.g. `at(result, "resid_pre", { layer: 15, pos: 9 })`.
 * @throws InputError naming every fault: an unknown variable, a dim not given or not the variable's, an unknown label.
 */
export function at(dataset: Dataset, variable: string, labels: Readonly<Record<string, Label>>): Cell {
  const { dims } = requireVariable(dataset, variable);
  const faults: Fault[] = [];
  for (const dim of Object.keys(labels)) {
    if (!dims.includes(dim)) {
      faults.push({
        where: variable,
        found: `dim ${dim}`,
        wanted: `its dims ${dims.join(", ") || "(none)"}`,
      });
    }
  }
  let index = 0;
  for (const dim of dims) {
    const known = labelsOf(dataset, dim);
    const wanted = Object.hasOwn(labels, dim) ? labels[dim] : undefined;
    const position = wanted === undefined ? -1 : known.indexOf(wanted);
    if (wanted === undefined)
      faults.push({ where: variable, found: `no ${dim}`, wanted: `one of ${span(known)}` });
    else if (position < 0) {
      faults.push({
        where: `${variable}, ${dim}`,
        found: JSON.stringify(wanted),
        wanted: `one of ${span(known)}`,
      });
    }
    index = index * known.length + position;
  }
  refuse(faults);
  return cellReader(dataset, variable)(index);
}

/** A function from the flat row-major index of a variable's cell to the cell. */
export function cellReader(dataset: Dataset, variable: string): (index: number) => Cell {
  const main = requireVariable(dataset, variable);
  const [site, end] = isByPair(dataset, variable)
    ? [variable.slice(0, -BY_PAIR.length), BY_PAIR]
    : [variable, ""];
  const others = Object.entries(companions).flatMap(([key, suffix]) => {
    const name = site + suffix + end;
    const other = Object.hasOwn(dataset.dataVars, name) ? dataset.dataVars[name] : undefined;
    return other !== undefined && other.dims.join() === main.dims.join() ? [{ key, data: other.data }] : [];
  });
  return (index) => {
    const cell: Record<string, number> & { value: number } = { value: Number(main.data[index]) };
    for (const { key, data } of others) {
      const value = Number(data[index]);
      if (!Number.isNaN(value)) cell[key] = value;
    }
    return cell;
  };
}

/** The labels of a dim, in order; 0, 1, 2, … where it has no coordinate. */
export function labelsOf(dataset: Dataset, dim: string): readonly Label[] {
  const coordinate = Object.hasOwn(dataset.coords, dim) ? dataset.coords[dim] : undefined;
  return coordinate === undefined
    ? Array.from({ length: dataset.dims[dim] ?? 0 }, (_, i) => i)
    : [...coordinate.data];
}

/** The shape of a variable, in the order of its dims. */
export function shapeOf(dataset: Dataset, variable: string): number[] {
  return requireVariable(dataset, variable).dims.map((dim) => dataset.dims[dim] ?? 0);
}

/** The labels of a cell given by its flat row-major index. */
export function labelsAt(dataset: Dataset, variable: string, index: number): Record<string, Label> {
  const { dims } = requireVariable(dataset, variable);
  const shape = shapeOf(dataset, variable);
  return Object.fromEntries(
    dims.map((dim, axis) => {
      const stride = sizeOf(shape.slice(axis + 1));
      const position = Math.floor(index / stride) % (shape[axis] ?? 1);
      return [dim, labelsOf(dataset, dim)[position] ?? position];
    }),
  );
}

/** The run that was intervened on: noising edits the clean run, everything else the corrupt one. */
export function baseRun(dataset: Dataset): "clean" | "corrupt" {
  return dataset.attrs.direction === "noise" ? "clean" : "corrupt";
}

/** The metric of a run without edits, where the result records it. */
export function baseline(dataset: Dataset, run: "clean" | "corrupt"): number | undefined {
  const value = dataset.attrs[`baseline_${run}`];
  return typeof value === "number" ? value : undefined;
}

/** Its 95 % interval over pairs, where the result has one. */
export function baselineInterval(
  { attrs }: Dataset,
  run: "clean" | "corrupt",
): readonly [low: number, high: number] | undefined {
  const [low, high] = [attrs[`baseline_${run}_ci_low`], attrs[`baseline_${run}_ci_high`]];
  return typeof low === "number" && typeof high === "number" ? [low, high] : undefined;
}

/** Methods whose variables hold the metric of the edited run itself, as against a difference or a share of it. */
const metricMethods = new Set(["activation-patching", "causal-tracing", "corruptions"]);

/** The value of a variable that means "no effect": the metric of the base run where it holds that of edited runs, else 0. */
export function noEffectValue(dataset: Dataset, variable: string): number {
  return holdsMetric(dataset, variable) ? (baseline(dataset, baseRun(dataset)) ?? 0) : 0;
}

/**
 * Whether a variable holds the metric of edited runs. Its attribute `quantity` ("metric", "effect", …) decides; without
 * it a normalised companion or the method does.
 */
function holdsMetric(dataset: Dataset, variable: string): boolean {
  const { quantity } = requireVariable(dataset, variable).attrs;
  if (quantity !== undefined) return quantity === "metric";
  return (
    !variable.endsWith("_effect") &&
    (Object.hasOwn(dataset.dataVars, `${variable}_normalized`) ||
      metricMethods.has(String(dataset.attrs.method)))
  );
}

/**
 * The effect of every cell: `<site>_effect` where the result has it (of one pair's cells `<site>_effect_per_pair`), else
 * value minus {@link noEffectValue}; of a cell that is one pair's, minus the base run of that pair.
 */
export function effects(dataset: Dataset, variable: string): Float64Array {
  const { data } = requireVariable(dataset, variable);
  const none = noEffectValue(dataset, variable);
  const ownNone = pairBaselines(dataset, variable);
  const read = cellReader(dataset, variable);
  return Float64Array.from({ length: data.length }, (_, index) => {
    const cell = read(index);
    return cell.effect ?? cell.value - (ownNone?.(index) ?? none);
  });
}

/** The base run's metric of the pair that a cell is of, where cells hold the metric by pair and the result has baselines by pair. */
function pairBaselines(dataset: Dataset, variable: string): ((index: number) => number) | undefined {
  const { dims } = requireVariable(dataset, variable);
  const own = dataset.coords[`baseline_${baseRun(dataset)}`];
  const axis = dims.indexOf("pair");
  if (axis < 0 || own?.dims.join() !== "pair" || !holdsMetric(dataset, variable)) return undefined;
  const stride = sizeOf(shapeOf(dataset, variable).slice(axis + 1));
  return (index) => Number(own.data[Math.floor(index / stride) % own.data.length]);
}

/** A cell with its place and effect. */
export interface StrongCell extends Cell {
  readonly site: string;
  readonly labels: Readonly<Record<string, Label>>;
  readonly effect: number;
}

/**
 * The computed cells with the largest absolute effect, over all sites or those named, strongest first. Of an estimate that
 * was verified the exact effect counts.
 */
export function strongest(
  dataset: Dataset,
  count: number,
  among: readonly string[] = sites(dataset),
): StrongCell[] {
  const readers = new Map(among.map((site) => [site, cellReader(dataset, site)] as const));
  const ranked = among
    .flatMap((site) =>
      Array.from(effects(dataset, site), (effect, index) => {
        const { exact = effect } = readers.get(site)?.(index) ?? {};
        return { site, effect, index, size: Math.abs(exact) };
      }),
    )
    .filter(({ effect }) => !Number.isNaN(effect))
    .sort((a, b) => b.size - a.size)
    .slice(0, count);
  return ranked.map(({ site, effect, index }) => ({
    ...(readers.get(site)?.(index) as Cell),
    site,
    labels: labelsAt(dataset, site, index),
    effect,
  }));
}

/** @throws InputError where the dataset has no such variable, naming those it has. */
export function requireVariable(dataset: Dataset, name: string): Variable {
  const variable = Object.hasOwn(dataset.dataVars, name) ? dataset.dataVars[name] : undefined;
  if (variable !== undefined) return variable;
  const known = Object.keys(dataset.dataVars).join(", ") || "none";
  throw inputError("variable", JSON.stringify(name), `one of: ${known}`);
}

function span(labels: readonly Label[]): string {
  const all = labels.map((label) => JSON.stringify(label));
  return all.length <= 8 ? all.join(", ") : `${all.slice(0, 3).join(", ")}, …, ${all.at(-1)}`;
}
