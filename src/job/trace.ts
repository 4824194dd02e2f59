/** @file The job of the command `trace`: causal tracing of one fact or many. */
import { inputError } from "../core/errors.ts";
import { sizeOf, type Tensor } from "../core/tensor.ts";
import { causalTracing } from "../method/causal-tracing.ts";
import type { Model } from "../model/model.ts";
import { encodeSafetensors } from "../model/weights/safetensors-encode.ts";
import type { Dataset } from "../result/result.ts";
import { allOf, type JobContext } from "./input.ts";
import type { TraceOptions } from "./options/trace.ts";
import { factsOf, promptSource } from "./prompts.ts";
import { withWarnings } from "./warnings.ts";

/** Traces as the options say. @throws InputError with the faults of facts and noise together. */
export async function traceJob(model: Model, options: TraceOptions, context: JobContext): Promise<Dataset> {
  const written = options["write-noise"];
  const [{ facts, warnings }, noise] = await allOf<
    [Awaited<ReturnType<typeof factsOf>>, Tensor<Float32Array> | undefined]
  >([
    () => factsOf(options, model.tokenizer, context),
    () => (options.noise === undefined ? undefined : noiseOf(options.noise, context)),
  ]);
  if (written !== undefined && facts.length > 1) {
    throw inputError("--write-noise", `${facts.length} facts`, "one: subjects differ in length");
  }
  let drawn: { readonly data: Float64Array; readonly shape: readonly number[] } | undefined;
  const result = await causalTracing(model, facts, {
    sites: options.site,
    factor: options.sigma,
    spread: options.spread,
    distribution: options.distribution,
    samples: options.samples,
    antithetic: options.antithetic,
    noise,
    window: options.window,
    windowBefore: options["window-before"],
    sever: options.sever,
    metric: options.metric,
    perPair: options["per-pair"],
    verify: options.verify,
    seed: options.seed,
    onNoise: (data, shape) => {
      drawn = { data, shape };
    },
    onProgress: context.onProgress,
    signal: context.signal,
  });
  if (written !== undefined && drawn !== undefined) {
    const { data, shape } = drawn;
    await context.writeBytes(written, encodeSafetensors({ noise: { data: Float32Array.from(data), shape } }));
  }
  return withWarnings(result, warnings, {
    bos: options.bos ?? model.tokenizer.addsBos,
    ...promptSource(options),
  });
}

async function noiseOf(path: string, { readTensors }: JobContext): Promise<Tensor<Float32Array>> {
  const tensors = await readTensors(path);
  const noise = tensors.get("noise");
  if (noise === undefined || noise.shape.length !== 3 || sizeOf(noise.shape) === 0) {
    const names = [...tensors].map(([name, { shape }]) => `${name} [${shape.join(", ")}]`).join(", ");
    throw inputError(path, names || "no tensor", "one tensor noise [samples, subject tokens, d_model]");
  }
  if (noise.data.some((value) => !Number.isFinite(value))) {
    throw inputError(path, "numbers that are not finite", "finite noise");
  }
  return noise;
}
