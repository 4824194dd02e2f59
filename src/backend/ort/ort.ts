/**
 * @file The onnxruntime backend: one session for each distinct program, whatever the layer. The runtime itself is
 * passed in, so that Node (`node.node.ts`) and the page (`web.ts`) share everything else.
 */

import type { InferenceSession, Tensor as OrtTensor, TensorConstructor } from "onnxruntime-common";
import { inputError } from "../../core/errors.ts";
import type { FloatArray, Tensor, TensorData } from "../../core/tensor.ts";
import { print } from "../../program/print.ts";
import type { Program } from "../../program/program.ts";
import type { Backend, Executable, RunOptions } from "../backend.ts";
import { bindDims, resolve } from "../dims.ts";
import type { Emitted } from "./emit.ts";
import { emit, outputName } from "./emit.ts";

/** What is used of onnxruntime-node and onnxruntime-web. */
export interface Runtime {
  readonly InferenceSession: {
    create(model: Uint8Array, options?: InferenceSession.SessionOptions): Promise<InferenceSession>;
  };
  readonly Tensor: TensorConstructor;
}

export interface OrtOptions {
  readonly runtime: Runtime;
  readonly version: string;
  readonly device: "cpu" | "webgpu" | "cuda" | "wasm";
  /** Threads inside one operation; the runtime's own choice if absent. */
  readonly threads?: number;
  /** Whether outputs are written into tensors that are offered; the WebAssembly engine has a memory of its own. */
  readonly writesInto: boolean;
}

/** Every session has a thread pool of its own, whose threads would go on spinning after a run and starve the next session. */
const NO_SPINNING = { session: { force_spinning_stop: "1", intra_op: { allow_spinning: "0" } } };

export function ortBackend({ runtime, version, device, threads, writesInto }: OrtOptions): Backend {
  const executables = new Map<string, Promise<{ executable: Executable; session: InferenceSession }>>();
  // Weights are the same arrays in every run: they are wrapped once.
  const wrapped = new WeakMap<TensorData, OrtTensor>();
  const wrap = (tensor: Tensor): OrtTensor => {
    const known = wrapped.get(tensor.data);
    if (known?.dims.join() === tensor.shape.join()) return known;
    const made =
      tensor.data instanceof Int32Array
        ? new runtime.Tensor("int32", tensor.data, tensor.shape)
        : new runtime.Tensor("float32", tensor.data as Float32Array, tensor.shape);
    wrapped.set(tensor.data, made);
    return made;
  };

  const options: InferenceSession.SessionOptions = {
    executionProviders: [device],
    graphOptimizationLevel: "all",
    extra: NO_SPINNING,
    ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
    interOpNumThreads: 1,
    logSeverityLevel: 3,
  };

  async function make(program: Program): Promise<{ executable: Executable; session: InferenceSession }> {
    const emitted = emit(program);
    const session = await runtime.InferenceSession.create(emitted.bytes, options).catch((error: Error) => {
      if (device === "cpu" || device === "wasm") throw error;
      const reason = error.message.split("\n")[0] ?? "";
      throw inputError(
        "device",
        `${device}, which cannot be started here (${reason})`,
        `a machine with what ${device} needs`,
        "Install its driver and libraries, or leave the device out to compute on the processor.",
      );
    });
    return {
      session,
      executable: { run: (inputs, how) => runSession(inputs, { program, emitted, session, ...how }) },
    };
  }

  async function runSession(
    inputs: Readonly<Record<string, Tensor>>,
    run: RunOptions & {
      readonly program: Program;
      readonly emitted: Emitted;
      readonly session: InferenceSession;
    },
  ): Promise<Record<string, Tensor<FloatArray>>> {
    const { program, emitted, session, into } = run;
    const bound = bindDims(program, inputs, run.dims);
    const feeds: Record<string, OrtTensor> = {};
    for (const { name } of program.inputs) feeds[name] = wrap(inputs[name] as Tensor);
    for (const [name, shape] of emitted.shapeInputs) {
      const sizes = BigInt64Array.from(resolve(shape, bound), BigInt);
      feeds[name] = new runtime.Tensor("int64", sizes, [sizes.length]);
    }
    const fetches: Record<string, OrtTensor | null> = {};
    for (const site of program.outputs) {
      const target = writesInto ? into?.[site] : undefined;
      fetches[outputName(site)] =
        target === undefined
          ? null
          : new runtime.Tensor("float32", target.data as Float32Array, target.shape);
    }
    const found = await session.run(feeds, fetches);
    const result: Record<string, Tensor<FloatArray>> = {};
    for (const site of program.outputs) {
      const output = found[outputName(site)] as OrtTensor;
      const data = (output.location === "cpu" ? output.data : await output.getData()) as Float32Array;
      const target = into?.[site];
      if (target !== undefined && !writesInto) target.data.set(data);
      result[site] = target ?? { shape: output.dims, data };
    }
    return result;
  }

  return {
    name: "onnxruntime",
    device,
    version,
    precision: "float32",
    allocate: (size) => new Float32Array(size),
    async compile(program) {
      const key = print(program);
      let made = executables.get(key);
      if (made === undefined) {
        made = make(program);
        executables.set(key, made);
      }
      return (await made).executable;
    },
    async close() {
      const all = await Promise.allSettled(executables.values());
      executables.clear();
      for (const made of all) if (made.status === "fulfilled") await made.value.session.release();
    },
  };
}
