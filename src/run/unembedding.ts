/** @file What there is of the unembedding beside its rows: which weights it takes, and their mean over the vocabulary. */

import { oncePer } from "../core/once.ts";
import type { FloatArray, Tensor } from "../core/tensor.ts";
import type { Model } from "../model/model.ts";
import { meanRow } from "../numeric/projection.ts";
import { withWeights } from "./with-layer.ts";

/** A row of the unembedding [d] and its bias. */
export interface UnembeddingRow {
  readonly row: ArrayLike<number>;
  readonly bias: number;
}

/** The weights of the unembedding by the names of the program's inputs. */
export interface UnembeddingInputs {
  /** [vocabulary, d] */
  readonly table: string;
  /** [vocabulary] */
  readonly bias: string | undefined;
  /** Whether logits pass through a soft cap. */
  readonly capped: boolean;
}

/** Finds the unembedding's inputs. */
export function unembeddingInputs({ definition }: Model): UnembeddingInputs {
  const { unembed: program } = definition;
  const weights = new Set(
    program.inputs.filter(({ role }) => role.kind === "weight").map(({ name }) => name),
  );
  // The one product with a stored matrix; that of chosen columns takes rows of it.
  const linear = program.nodes.find(({ op, args }) => op === "linear" && weights.has(args[1] ?? ""));
  const table = linear?.args[1];
  if (table === undefined) throw new Error("the unembedding is no product with a stored matrix");
  return { table, bias: linear?.args[2], capped: program.nodes.some(({ op }) => op === "activation") };
}

/** The mean row and bias over the vocabulary: of logits without a soft cap, their mean is that row's own logit. */
export const meanUnembedding: (model: Model) => Promise<UnembeddingRow> = oncePer(readMean);

async function readMean(model: Model): Promise<UnembeddingRow> {
  const { table, bias } = unembeddingInputs(model);
  return withWeights(model, "ends", (weights) => {
    const of = (name: string, width: number): Float64Array =>
      meanRow((weights[name] as Tensor<FloatArray>).data, width);
    return {
      row: of(table, model.architecture.dModel),
      bias: bias === undefined ? 0 : (of(bias, 1)[0] ?? 0),
    };
  });
}
