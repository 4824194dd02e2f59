import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { defineConfig } from "tsdown";

const common = { format: "esm", target: "node20", platform: "node", sourcemap: false } as const;
const outExtensions = () => ({ js: ".js", dts: ".d.ts" });

/** Packages that the command line carries in itself: hundreds of small files, which take longer to find than to run. */
const CARRIED = [
  "zod",
  "commander",
  "cli-progress",
  "string-width",
  "strip-ansi",
  "ansi-regex",
  "emoji-regex",
  "is-fullwidth-code-point",
  "onnx-proto",
  "protobufjs",
  "@protobufjs",
  "long",
  "@huggingface/tokenizers",
  "@huggingface/jinja",
];

export default defineConfig([
  {
    ...common,
    // The thread is found by its path, beside the module that starts it.
    entry: ["src/index.ts", "src/model/weights/thread.node.ts"],
    // Declarations file by file: with isolatedDeclarations they need no type check, and so no build of the references.
    dts: { oxc: true, tsconfig: "tsconfig.base.json" },
    // One file for each of ours: `../../models` is then the same folder from src/model/ and from dist/model/.
    unbundle: true,
    outDir: "dist",
    outExtensions,
    clean: true,
  },
  {
    ...common,
    // A few files, all in dist/cli, from where `../../models` is the same folder as well.
    entry: { bin: "src/cli/bin.ts", "thread.node": "src/model/weights/thread.node.ts" },
    dts: false,
    outDir: "dist/cli",
    outExtensions,
    clean: false,
    inlineOnly: false,
    noExternal: CARRIED.map((name) => new RegExp(`^${name}(/|$)`)),
    hooks: { "build:done": () => writeFileSync("dist/cli/LICENSES.txt", licenses()) },
  },
]);

/** The licences of what the command line carries. */
function licenses(): string {
  const packages = CARRIED.flatMap((name) =>
    name.startsWith("@") && !name.includes("/")
      ? readdirSync(`node_modules/${name}`).map((part) => `${name}/${part}`)
      : [name],
  );
  return packages
    .map((name) => {
      const folder = `node_modules/${name}`;
      const { version, license } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
      const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
      const text = file === undefined ? "" : `\n${readFileSync(`${folder}/${file}`, "utf8")}`;
      return `${name} ${version} (${license})\n${text}`;
    })
    .join(`\n${"-".repeat(80)}\n\n`);
}
