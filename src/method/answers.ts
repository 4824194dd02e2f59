/** @file What the model itself says after a prompt: answers where none are given, and whether it knows those that are. */

import type { Prompted } from "../model/fact.ts";
import type { Model } from "../model/model.ts";
import { topLogits } from "../numeric/logits.ts";
import { forward } from "../run/forward.ts";
import { readRows } from "../run/read.ts";

/** Prompts run at once: bounds what their residual streams take. */
const BATCH = 32;

/** A prompt whose answer is there, and the most probable next token. */
export interface Answered<P> {
  readonly prompt: P;
  /** Whether the most probable token is the first of an answer. */
  readonly known: boolean;
  readonly top: { readonly id: number; readonly piece: string };
}

/** Completes prompts without an answer by the model's own most probable token. */
export async function answered<P extends Prompted>(
  model: Model,
  prompts: readonly P[],
): Promise<Answered<P>[]> {
  const width = model.architecture.dModel;
  const found: Answered<P>[] = [];
  for (let start = 0; start < prompts.length; start += BATCH) {
    const batch = prompts.slice(start, start + BATCH);
    const { residuals } = await forward(
      model,
      batch.map(({ clean }) => clean.ids),
    );
    const rows = residuals.map((residual, index) => ({ index, residual: residual.slice(-width) }));
    await readRows(model, rows, {
      reads: () => [{ readout: { logits: true } }],
      onReading({ index }, [position]) {
        const prompt = batch[index] as P;
        const [top] = topLogits(position?.logits ?? model.backend.allocate(0), 1);
        const id = top?.index ?? 0;
        const [piece = ""] = model.tokenizer.pieces([id]);
        const answers =
          prompt.answers.length > 0 ? prompt.answers : [{ text: piece, ids: [id], pieces: [piece] }];
        const known = answers.some(({ ids }) => ids[0] === id);
        found[start + index] = { prompt: { ...prompt, answers }, known, top: { id, piece } };
      },
    });
  }
  return found;
}
