/**
 * @file Runs that are killed: real processes of the built executable, at random moments, and what comes of them in the
 * end held against a run that was left alone.
 *
 * Each process writes slowly, a few bytes at a time, so that kills hit records and results half written.
 */
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { random } from "../core/random.ts";

const executable = fileURLToPath(new URL("../../dist/cli/bin.js", import.meta.url));
/** 1,408 edited runs of 17 tokens in a few waves, as the state of 550 of them is all that the budget leaves room for. */
const WORK = ["patch", "pocket", "--task", "ioi", "--n", "2", "--site", "mlp_post", "--by", "layer,neuron"];
const OPTIONS = ["--layer", "6-7", "--memory", "300MB", "--verify", "0", "--threads", "1"];

/** Lets a process write an eighth of what is left at a time. */
const slowWrites = `
  import promises from "node:fs/promises";
  import { syncBuiltinESMExports } from "node:module";
  const pause = () => new Promise((resolve) => setTimeout(resolve, 6));
  const probe = await promises.open(process.execPath);
  const handle = Object.getPrototypeOf(probe);
  await probe.close();
  const { write } = handle;
  handle.write = async function (bytes, offset, length, position) {
    await pause();
    return write.call(this, bytes, offset, Math.min(length, Math.max(400, Math.ceil(length / 8))), position);
  };
  promises.writeFile = async (path, content) => {
    const text = typeof content === "string" || content instanceof Uint8Array ? content : [...content].join("");
    const bytes = Buffer.from(text);
    const file = await promises.open(path, "w");
    for (let at = 0; at < bytes.length; ) {
      at += (await file.write(bytes, at, bytes.length - at, at)).bytesWritten;
    }
    await file.close();
  };
  syncBuiltinESMExports();
`;
const preload = `data:text/javascript,${encodeURIComponent(slowWrites)}`;

let folder = "";
beforeAll(async () => {
  if (!existsSync(executable)) throw new Error("dist/ is missing: npm run build makes it");
  folder = await mkdtemp(join(tmpdir(), "crosspatch-"));
});
afterAll(() => rm(folder, { recursive: true }));

function start(out: string, ...rest: readonly string[]) {
  const argv = [executable, ...WORK, ...OPTIONS, "--out", out, ...rest];
  const child = spawn(process.execPath, ["--import", preload, ...argv], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let stderr = "";
  child.stderr.on("data", (text) => {
    stderr += text;
  });
  const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
  return { child, ended, stderr: () => stderr };
}

/** All files of a directory, with what a clock says of them blanked out. */
async function contents(directory: string): Promise<Record<string, string>> {
  const names = (await readdir(directory, { recursive: true })).sort();
  const files = names.filter((name) => statSync(join(directory, name)).isFile());
  const texts = files.map(async (name) => {
    const text = await readFile(join(directory, name), "utf8");
    const timeless = text
      .replace(/"(load_)?seconds":[\d.e-]+/g, '"$1seconds":0')
      .replace(/(<th>(load_)?seconds<\/th><td class="text">)[\d.e-]+/g, "$1");
    return [name, timeless] as const;
  });
  return Object.fromEntries(await Promise.all(texts));
}

const LOG_HEADER_BYTES = 48;
const FRAME_BYTES = 36;

type State = "nothing" | "in a wave" | "in a record" | "in the result";

/** What the process that was started at `since` was about when it was killed, from what it has written. */
function stateOf(out: string, since: number): State {
  const log = join(out, "waves.log");
  if (!existsSync(log)) return "nothing";
  const names = readdirSync(out, { recursive: true }).map(String);
  const written = names.filter((name) => statSync(join(out, name)).mtimeMs > since);
  if (written.some((name) => /^(figures|report|result)/.test(name))) return "in the result";
  if (recordsOf(log).half && written.includes("waves.log")) return "in a record";
  // With a log open, a process computes waves, unless it has them all.
  return names.includes("report.html") ? "nothing" : "in a wave";
}

/** The bytes of a file, none where it is not there: a run removes its log when it has its result, at any moment. */
function bytesOf(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return Buffer.alloc(0);
    throw error;
  }
}

/** Whole records of a log, and whether it ends in half of one. */
function recordsOf(log: string): { readonly whole: number; readonly half: boolean } {
  const bytes = bytesOf(log);
  let [at, whole] = [LOG_HEADER_BYTES, 0];
  while (at + FRAME_BYTES <= bytes.length) {
    const end = at + FRAME_BYTES + bytes.readUInt32LE(at);
    if (end > bytes.length) break;
    at = end;
    whole += 1;
  }
  return { whole, half: bytes.length > at };
}

const MOMENTS = ["in a wave", "in a record", "any", "in a record", "in the result"] as const;
type Moment = (typeof MOMENTS)[number];

const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits for a stretch of the run, then for a moment in it. */
async function until(
  moment: Moment,
  out: string,
  { at, isOver }: { at: number; isOver: () => boolean },
): Promise<void> {
  const log = join(out, "waves.log");
  const before = recordsOf(log);
  // The first record that the process writes, or the second.
  const written = before.whole + (at < 0.5 ? 0 : 1);
  const begun = Date.now();
  const begins = (): boolean => {
    if (moment === "in a wave") return existsSync(log);
    if (moment === "in a record") {
      const { whole, half } = recordsOf(log);
      const changed = statSync(log, { throwIfNoEntry: false })?.mtimeMs ?? 0;
      return whole >= written && half && changed > begun;
    }
    return existsSync(join(out, "figures"));
  };
  if (moment === "any") return await wait(1500 * at);
  while (!begins() && !isOver()) await wait(2);
  await wait({ "in a wave": 200, "in a record": 30, "in the result": 120 }[moment] * at);
}

const HIT = ["in a wave", "in a record", "in the result"] as const satisfies readonly State[];

/**
 * Kills a run at each of the moments in turn, `kills` times and then on until each state was left `hits` times: where a
 * kill lands is chance. Holds every result that comes of it in between and at the end against what is expected.
 */
async function killAt(options: {
  readonly lane: string;
  readonly seed: number;
  readonly kills: number;
  readonly hits: number;
  readonly expected: Readonly<Record<string, string>>;
}): Promise<{ readonly left: readonly State[]; readonly resumed: number }> {
  const { lane, seed, kills, hits, expected } = options;
  const source = random(seed);
  const left: State[] = [];
  let [runs, resumed] = [0, 0];
  let out = join(folder, `${lane}-${runs}`);
  const finish = async (): Promise<void> => {
    expect(await contents(out)).toEqual(expected);
    runs += 1;
    out = join(folder, `${lane}-${runs}`);
  };
  const isEnough = (): boolean =>
    left.length >= kills && HIT.every((state) => left.filter((one) => one === state).length >= hits);
  while (!isEnough()) {
    const since = Date.now();
    const { child, ended, stderr } = start(out);
    let isOver = false;
    void ended.then(() => {
      isOver = true;
    });
    await until(MOMENTS[left.length % MOMENTS.length] ?? "any", out, {
      at: source.uniform(),
      isOver: () => isOver,
    });
    child.kill("SIGKILL");
    const status = await ended;
    if (stderr().includes("resumed: ")) resumed += 1;
    if (status === 0) await finish();
    else {
      expect(child.signalCode, stderr()).toBe("SIGKILL");
      left.push(stateOf(out, since));
    }
  }
  const last = start(out);
  expect(await last.ended, last.stderr()).toBe(0);
  await finish();
  return { left, resumed };
}

test("killed 50 times and taken up again, a run ends with the bytes of one that was left alone", async () => {
  const alone = join(folder, "alone");
  expect(await start(alone).ended).toBe(0);
  const expected = await contents(alone);
  expect(Object.keys(expected)).toEqual([
    "experiment.json",
    "figures/mlp_post.svg",
    "report.html",
    "result.json",
  ]);
  expect(JSON.parse(expected["result.json"] ?? "").attrs.plan.waves).toBeGreaterThanOrEqual(3);

  const lanes = await Promise.all(
    ["left", "right"].map((lane, index) =>
      killAt({ lane, seed: 20_241_124 + index, kills: 25, hits: 3, expected }),
    ),
  );
  expect(lanes.flatMap((lane) => lane.left).length).toBeGreaterThanOrEqual(50);
  expect(lanes.reduce((sum, { resumed }) => sum + resumed, 0)).toBeGreaterThanOrEqual(5);
}, 600_000);

test("an interruption says what is kept; the same command goes on, another one is refused", async () => {
  const out = join(folder, "interrupted");
  const { child, ended, stderr } = start(out);
  await until("in a record", out, { at: 0, isOver: () => false });
  while (recordsOf(join(out, "waves.log")).half) await wait(2);
  child.kill("SIGINT");
  expect(await ended).toBe(130);
  expect(stderr()).toMatch(
    /\ninterrupted: .*interrupted keeps \d finished waves?, and the same command goes on/,
  );

  const other = start(out, "--seed", "1");
  expect(await other.ended).toBe(2);
  expect(other.stderr()).toContain(`--out: found ${out}, a run of another experiment`);

  const again = start(out);
  expect(await again.ended).toBe(0);
  expect(again.stderr()).toMatch(/^resumed: \d of \d waves kept$/m);
  const before = await contents(out);
  const third = start(out);
  expect(await third.ended).toBe(0);
  expect(third.stderr()).toContain("holds this result already: nothing was computed");
  expect(await contents(out)).toEqual(before);
});

test("a directory whose result or log is of other work is left as it is", async () => {
  const out = join(folder, "foreign");
  expect(await start(out).ended).toBe(0);
  const file = join(out, "result.json");
  const text = await readFile(file, "utf8");
  const changed = text.replace(/"fingerprint":"[0-9a-f]{64}"/, `"fingerprint":"${"0".repeat(64)}"`);
  await writeFile(file, changed);
  const again = start(out);
  expect(await again.ended).toBe(2);
  expect(again.stderr()).toContain(
    "a run of the same options, but of other prompts, another model or another version",
  );
  expect(await readFile(file, "utf8")).toBe(changed);

  await rm(file);
  await writeFile(join(out, "waves.log"), "a log of something else that is as long as a header is");
  expect(await start(out).ended).toBe(2);
  expect(existsSync(file)).toBe(false);
});
