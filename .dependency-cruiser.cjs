/** The layers of src/, lowest first: a folder imports from itself and from those before it. */
const layers = [
  "core",
  "numeric",
  "program",
  "backend",
  "model",
  "run",
  "metric",
  "task",
  "result",
  "method",
  "plot",
  "job",
  "cli",
];

const tests =
  "\\.test\\.ts$|^src/result/fixtures\\.ts$|^src/model/pair-fixtures\\.ts$|^src/model/weights/testing\\.ts$";

/** @type {import("dependency-cruiser").IConfiguration} */
module.exports = {
  forbidden: [
    ...layers.slice(0, -1).map((layer, index) => ({
      name: `${layer}-is-below`,
      comment: `src/${layer} knows nothing of the layers above it`,
      severity: "error",
      from: { path: `^src/${layer}/`, pathNot: tests },
      to: { path: `^src/(${layers.slice(index + 1).join("|")}|index\\.ts|library\\.node\\.ts)` },
    })),
    {
      name: "library-below-command-line",
      severity: "error",
      from: { path: "^src/(index|library\\.node)\\.ts$" },
      to: { path: "^src/cli/" },
    },
    {
      name: "portable",
      comment: "what also runs in a browser imports nothing that needs Node",
      severity: "error",
      from: { path: "^src/", pathNot: `\\.node\\.ts$|^src/cli/|^src/index\\.ts$|${tests}` },
      to: { path: "\\.node\\.ts$", dependencyTypesNot: ["core"] },
    },
    {
      name: "no-circle",
      severity: "error",
      from: {},
      to: { circular: true },
    },
    {
      name: "no-test-code",
      comment: "tests import the product, never the other way round",
      severity: "error",
      from: { path: "^src/", pathNot: tests },
      to: { path: `^test/|${tests}` },
    },
    {
      name: "shipped-dependencies",
      comment:
        "what src/ imports at run time is in `dependencies`; onnxruntime-web is for pages, which bundle it",
      severity: "error",
      from: { path: "^src/", pathNot: `^src/backend/ort/web\\.ts$|${tests}` },
      to: { dependencyTypes: ["npm-dev", "npm-no-pkg", "npm-unknown", "unknown", "undetermined"] },
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.base.json" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node", "default"] },
    doNotFollow: { path: "node_modules" },
    exclude: { path: "^(dist|\\.tsbuild|runs)/" },
  },
};
