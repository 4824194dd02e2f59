import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    // One worker per core of the smallest machine supported; onnxruntime brings threads of its own.
    maxWorkers: 2,
    testTimeout: 120_000,
  },
});
