import { defineConfig } from "tsdown";

export default defineConfig({
  entry: ["src/index.ts", "src/cli/bin.ts"],
  format: "esm",
  target: "node20",
  platform: "node",
  // Declarations file by file: with isolatedDeclarations they need no type check, and so no build of the references.
  dts: { oxc: true, tsconfig: "tsconfig.base.json" },
  // One file for each of ours: `../../models` is then the same folder from src/model/ and from dist/model/.
  unbundle: true,
  outDir: "dist",
  clean: true,
  sourcemap: false,
  outExtensions: () => ({ js: ".js", dts: ".d.ts" }),
});
