/**
 * @file `npm test`: set-up, then every static check, then the tests. All are run whatever fails; any failure is the
 * exit status. `--static` leaves the tests out, `--count` prints the count of the last run; other arguments go to vitest.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { bin, npm, root, setUp } from "./setup.mjs";

const report = join(root, ".tsbuild", "vitest.json");

const checks = [
  ["lint", "format and lint (biome)"],
  ["types", "types (tsc)"],
  ["layers", "layers (dependency-cruiser)"],
  ["dead", "dead code (knip)"],
  ["package", "package (publint)"],
];

const args = process.argv.slice(2);
if (args.includes("--count")) process.stdout.write(`${countLine()}\n`);
else run();

function run() {
  setUp();
  const failed = checks.filter(([script, title]) => !check(script, title)).map(([, title]) => title);
  if (!args.includes("--static") && !test()) failed.push("tests (vitest)");
  if (failed.length > 0) {
    process.stdout.write(`failed: ${failed.join(", ")}\n`);
    process.exitCode = 1;
  }
}

/** Runs a script of package.json; its output is shown only where it fails. */
function check(script, title) {
  const [command, ...rest] = npm(["run", "--silent", script]);
  const started = Date.now();
  const { status, stdout, stderr } = spawnSync(command, rest, {
    cwd: root,
    encoding: "utf8",
    shell: command.endsWith(".cmd"),
    stdio: ["ignore", "pipe", "pipe"],
    maxBuffer: 64 * 2 ** 20,
  });
  const seconds = ((Date.now() - started) / 1000).toFixed(0);
  process.stdout.write(`${title}: ${status === 0 ? "ok" : "FAILED"} (${seconds} s)\n`);
  if (status !== 0) process.stdout.write(`${stdout}${stderr}\n`);
  return status === 0;
}

function test() {
  mkdirSync(dirname(report), { recursive: true });
  rmSync(report, { force: true });
  const { status } = spawnSync(
    process.execPath,
    [bin("vitest"), "run", "--reporter=default", "--reporter=json", `--outputFile.json=${report}`, ...args],
    { cwd: root, stdio: ["ignore", "inherit", "inherit"] },
  );
  return status === 0;
}

/** What vitest counted; a file that could not be run at all is one failure. */
function countLine() {
  if (!existsSync(report)) return "0 passed, 1 failed";
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults } = JSON.parse(
    readFileSync(report, "utf8"),
  );
  const broken = testResults.filter(
    ({ status, assertionResults }) =>
      status === "failed" && assertionResults.every((result) => result.status !== "failed"),
  ).length;
  const skipped = numPendingTests + numTodoTests;
  return `${numPassedTests} passed, ${numFailedTests + broken} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}
