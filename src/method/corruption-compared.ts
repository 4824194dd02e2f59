/** @file All numbers of a corruption comparison, before they are put into words and variables. */

import type { Model } from "../model/model.ts";
import type { Ranged } from "../numeric/jackknife.ts";
import type { Agreement, Comparison } from "./corruption-agreement.ts";
import type { Layout } from "./corruption-cells.ts";
import type { OffData } from "./corruption-distance.ts";
import type { Corrupted } from "./corruption-kinds.ts";
import type { ComparedMetric, ComparedValues } from "./corruption-sweep.ts";
import type { Units } from "./corruption-units.ts";

/** All numbers of a comparison, before they are put into words and variables. */
export interface Compared {
  readonly model: Model;
  readonly metrics: readonly ComparedMetric[];
  readonly corrupted: Corrupted;
  readonly layout: Layout;
  readonly units: Units;
  readonly off: OffData;
  readonly values: ComparedValues;
  /** Index of the corruption that the others are held against: replacement, else the last. */
  readonly reference: number;
  /** [grid][metric], over corruptions. */
  readonly byMetric: readonly (readonly Comparison[])[];
  /** [grid][corruption], over metrics. */
  readonly byCorruption: readonly (readonly Agreement[])[];
  readonly seed: number;
}

/** A corruption's runs against the clean one, mean over layers, by role. */
export interface OffSummary {
  /** Distance from natural states over the clean run's. */
  readonly distance: readonly Ranged[];
  readonly norm: readonly Ranged[];
  readonly entropy: readonly Ranged[];
}
