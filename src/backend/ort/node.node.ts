/** @file onnxruntime in Node: CPU everywhere, WebGPU and CUDA where the machine has them. */

import { createRequire } from "node:module";
import * as ort from "onnxruntime-node";
import { inputError } from "../../core/errors.ts";
import type { Backend } from "../backend.ts";
import { ortBackend } from "./ort.ts";

export const DEVICES = ["cpu", "webgpu", "cuda"] as const;
export type Device = (typeof DEVICES)[number];

/**
 * The onnxruntime backend of this machine.
 * @throws InputError if the build of onnxruntime lacks the device; a device that is there but cannot start
 *   says so at the first compilation.
 */
export function nodeBackend(options: { readonly device?: Device; readonly threads?: number } = {}): Backend {
  const { device = "cpu", threads } = options;
  const built = ort.listSupportedBackends().map((backend) => backend.name);
  const present = DEVICES.filter((name) => built.includes(name));
  if (!present.includes(device)) {
    throw inputError("--device", device, `one of ${present.join(", ")} (what onnxruntime offers here)`);
  }
  const { version } = createRequire(import.meta.url)("onnxruntime-node/package.json") as { version: string };
  return ortBackend({
    runtime: ort,
    version: `onnxruntime-node ${version}`,
    device,
    writesInto: device === "cpu",
    ...(threads === undefined ? {} : { threads }),
  });
}
