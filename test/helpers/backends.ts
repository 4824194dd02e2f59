/** @file Both backends, and how far apart two ways to the same number may lie on each. */

import { afterAll } from "vitest";
import type { Backend } from "../../src/backend/backend.ts";
import { nodeBackend } from "../../src/backend/ort/node.node.ts";
import { referenceBackend } from "../../src/backend/reference/reference.ts";

/** The reference and onnxruntime; closed when the tests of the calling file are done. */
export function bothBackends(): readonly Backend[] {
  const backends = [referenceBackend(), nodeBackend({ threads: 1 })];
  afterAll(async () => {
    for (const backend of backends) await backend.close();
  });
  return backends;
}

/**
 * Largest allowed difference of two logits that are equal in exact arithmetic. Logits of the goldens stay below 40
 * and most rounding happens in sums of about 30 terms: 1e-9 is far above float64's share, 5e-5 the project's
 * promise for float32.
 */
export function rounding({ precision }: Backend): number {
  return precision === "float64" ? 1e-9 : 5e-5;
}
