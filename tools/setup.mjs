/** @file Makes a checkout ready: dependencies as the lock file says, and the build. Does nothing where both are fresh. */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));

const OLDEST_NODE = 20;

/** Installs and builds where that is due. Ends the process with status 1 where it cannot. */
export function setUp() {
  if (Number(process.versions.node.split(".")[0]) < OLDEST_NODE) {
    stop(`Node ${process.versions.node} is too old: crosspatch needs Node ${OLDEST_NODE} or later.`);
  }
  if (!isInstalled()) {
    step("installing the dependencies (npm ci)", npm(["ci", "--no-audit", "--no-fund", "--loglevel=error"]));
  }
  if (isStale("dist/cli/bin.js", ["src", "package.json", "tsdown.config.ts"])) {
    step("building dist/", [process.execPath, bin("tsdown"), "--logLevel", "warn"]);
  }
}

/** The script of an installed package's command. */
export function bin(name) {
  const scripts = {
    tsdown: "tsdown/dist/run.mjs",
    vitest: "vitest/vitest.mjs",
  };
  return join(root, "node_modules", scripts[name]);
}

/** A command line of npm: the one that runs this script, where one does. */
export function npm(args) {
  const script = process.env.npm_execpath;
  if (script?.endsWith(".js")) return [process.execPath, script, ...args];
  return [process.platform === "win32" ? "npm.cmd" : "npm", ...args];
}

/** Runs a command, silent unless it fails. */
function step(what, [command = "", ...args]) {
  process.stderr.write(`${what} … `);
  const started = Date.now();
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: root,
    encoding: "utf8",
    shell: command.endsWith(".cmd"),
  });
  if (status === 0) {
    process.stderr.write(`${((Date.now() - started) / 1000).toFixed(0)} s\n`);
    return;
  }
  stop(`failed\n${stdout ?? ""}${stderr ?? ""}${error?.message ?? ""}`);
}

function stop(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

/** Whether npm's record of what it installed has every version of the lock file; other systems' binaries are optional. */
function isInstalled() {
  const record = join(root, "node_modules", ".package-lock.json");
  if (!existsSync(record)) return false;
  const installed = JSON.parse(readFileSync(record, "utf8")).packages;
  const { packages } = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8"));
  return Object.entries(packages).every(([path, { version, optional }]) => {
    if (path === "") return true; // crosspatch itself
    const found = installed[path]?.version;
    return found === version || (optional === true && found === undefined);
  });
}

/** Whether a product is missing, or older than anything that it is made from. */
function isStale(product, sources) {
  const path = join(root, product);
  if (!existsSync(path)) return true;
  const made = statSync(path).mtimeMs;
  return sources.some((source) => newest(join(root, source)) > made);
}

function newest(path) {
  if (!existsSync(path)) return 0;
  const { mtimeMs } = statSync(path);
  if (!statSync(path).isDirectory()) return mtimeMs;
  // Tests are no part of the build.
  return readdirSync(path, { withFileTypes: true })
    .filter(({ name }) => !name.endsWith(".test.ts"))
    .reduce((latest, { name }) => Math.max(latest, newest(join(path, name))), 0);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) setUp();
