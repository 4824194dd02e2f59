/** @file What a thread does for another: requests and answers as messages, and the work itself. */

import type { Fault } from "../../core/errors.ts";
import { InputError } from "../../core/errors.ts";
import { openedFile } from "./byte-source.node.ts";
import { hashSources } from "./byte-source.ts";
import { decodeTensors } from "./stored.ts";
import type { OpenFile, Spare, StoredTensor } from "./threads.ts";

export type Request =
  | {
      readonly kind: "decode";
      readonly file: OpenFile;
      readonly tensors: readonly StoredTensor[];
      readonly spare: Spare;
    }
  | { readonly kind: "sha256"; readonly files: readonly OpenFile[] };

export type Answer =
  | { readonly kind: "values"; readonly values: Float32Array<ArrayBuffer>[] }
  | { readonly kind: "digest"; readonly digest: string }
  /** An {@link InputError}, which would lose its class on the way. */
  | { readonly kind: "faults"; readonly faults: readonly Fault[] }
  | { readonly kind: "error"; readonly message: string };

/** Does what is asked, in the thread that calls; never rejects. */
export async function answer(request: Request): Promise<Answer> {
  try {
    if (request.kind === "sha256") {
      return { kind: "digest", digest: await hashSources(request.files.map(openedFile)) };
    }
    const { file, tensors, spare } = request;
    return { kind: "values", values: await decodeTensors(openedFile(file), tensors, spare) };
  } catch (error) {
    if (error instanceof InputError) return { kind: "faults", faults: error.faults };
    return { kind: "error", message: error instanceof Error ? error.message : String(error) };
  }
}
