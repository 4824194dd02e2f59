/** @file Which layers of a Qwen model attend locally. */

import { z } from "zod";
import { layerTypes, layerWindows, size } from "../config.ts";

export const QWEN_KEYS: {
  readonly use_sliding_window: z.ZodDefault<z.ZodBoolean>;
  readonly sliding_window: z.ZodDefault<z.ZodNullable<z.ZodNumber>>;
  readonly max_window_layers: z.ZodDefault<z.ZodNumber>;
  readonly layer_types: typeof layerTypes;
  readonly use_mrope: z.ZodOptional<z.ZodLiteral<false>>;
} = {
  use_sliding_window: z.boolean().default(false),
  sliding_window: size.nullable().default(4096),
  max_window_layers: z.int().min(0).default(28),
  layer_types: layerTypes,
  use_mrope: z.literal(false).optional(),
};

/** Window of each layer. The first `max_window_layers` layers are those *without* one. */
export function qwenWindows(config: {
  readonly num_hidden_layers: number;
  readonly use_sliding_window: boolean;
  readonly sliding_window: number | null;
  readonly max_window_layers: number;
  readonly layer_types?: z.output<typeof layerTypes>;
}): (number | undefined)[] {
  const window = config.use_sliding_window ? config.sliding_window : null;
  return layerWindows(
    { ...config, sliding_window: window },
    (layer) => window !== null && layer >= config.max_window_layers,
  );
}
