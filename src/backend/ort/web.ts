/** @file onnxruntime in the page: WebAssembly everywhere, WebGPU where the browser has it. */

import * as ort from "onnxruntime-web";
import { inputError } from "../../core/errors.ts";
import type { Backend } from "../backend.ts";
import { ortBackend } from "./ort.ts";

export const WEB_DEVICES = ["wasm", "webgpu"] as const;
export type WebDevice = (typeof WEB_DEVICES)[number];

export interface WebOptions {
  readonly device?: WebDevice | undefined;
  /** Threads of the WebAssembly engine; more than one needs a page that is cross-origin isolated. */
  readonly threads?: number | undefined;
}

/**
 * The onnxruntime backend of this page.
 * @throws InputError for WebGPU where the browser does not offer it.
 */
export function webBackend({ device = "wasm", threads = 1 }: WebOptions = {}): Backend {
  const { gpu } = (globalThis as { readonly navigator?: { readonly gpu?: unknown } }).navigator ?? {};
  if (device === "webgpu" && gpu === undefined) {
    throw inputError("device", "webgpu", "a browser that offers WebGPU", "Use wasm, or turn WebGPU on.");
  }
  ort.env.wasm.numThreads = threads;
  return ortBackend({
    runtime: ort,
    version: `onnxruntime-web ${ort.env.versions.web ?? ""}`,
    device,
    threads,
    writesInto: false,
  });
}
