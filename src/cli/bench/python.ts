/** @file The peers' Python: environments made from their requirements, and none where there is no Python for them. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Folder of the peers' scripts and requirements. */
export const PEERS_FOLDER: string = join(
  packageFolder(dirname(fileURLToPath(import.meta.url))),
  "bench/peers",
);

/** The package's own folder: this module lies at one depth in the sources and at another in the built command. */
function packageFolder(from: string): string {
  if (existsSync(join(from, "package.json"))) return from;
  const parent = dirname(from);
  if (parent === from) throw new Error("the package's own folder was not found");
  return packageFolder(parent);
}

/** Tried in order; the first that starts and is new enough is taken. */
const CANDIDATES = ["python3.11", "python3.12", "python3.10", "python3.13", "python3"];
const OLDEST = [3, 10] as const;

/** An environment, or why there is none. */
export type Environment = { readonly python: string } | { readonly missing: string };

/** `base`: all peers but TransformerLens 2, whose environment lies on top of it and shares its PyTorch. */
export type EnvironmentName = "base" | "tl2";

const REQUIREMENTS: { readonly [N in EnvironmentName]: string } = {
  base: "requirements.txt",
  tl2: "requirements-tl2.txt",
};

export interface MakeOptions {
  readonly cache: string;
  readonly python?: string | undefined;
  readonly say: (line: string) => void;
}

/** The environment of that name, made if it is not there or its requirements have changed. */
export async function environment(name: EnvironmentName, options: MakeOptions): Promise<Environment> {
  const interpreter = await findPython(options.python);
  if (interpreter === undefined) {
    return { missing: `no Python ${OLDEST.join(".")} or later was found` };
  }
  const base = name === "base" ? undefined : await environment("base", options);
  if (base !== undefined && "missing" in base) return base;

  const directory = join(options.cache, name);
  const python = join(directory, "bin", "python");
  const file = join(PEERS_FOLDER, REQUIREMENTS[name]);
  const stamp = join(directory, "requirements.sha256");
  const hash = createHash("sha256")
    .update(await readFile(file))
    .digest("hex");
  if ((await readFile(stamp, "utf8").catch(() => "")) === hash) return { python };

  options.say(`making the peers' Python environment ${directory} (once; some gigabytes)`);
  try {
    await rm(directory, { recursive: true, force: true });
    await mkdir(options.cache, { recursive: true });
    await output(interpreter, ["-m", "venv", directory]);
    if (base !== undefined) await shareWith(python, base.python);
    await output(python, ["-m", "pip", "install", "--quiet", "-r", file]);
    await writeFile(stamp, hash);
    return { python };
  } catch (error) {
    return { missing: `${REQUIREMENTS[name]} could not be installed: ${(error as Error).message}` };
  }
}

/** Lets an environment import what another has; its own packages come first. */
async function shareWith(python: string, base: string): Promise<void> {
  const site = ["-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"];
  const [own, shared] = await Promise.all([output(python, site), output(base, site)]);
  await writeFile(join(own.trim(), "base.pth"), `${shared.trim()}\n`);
}

async function findPython(asked: string | undefined): Promise<string | undefined> {
  for (const candidate of asked === undefined ? CANDIDATES : [asked]) {
    const found = await output(candidate, ["-c", "import sys; print(*sys.version_info[:2])"]).catch(() => "");
    const [major = 0, minor = 0] = found.trim().split(" ").map(Number);
    if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return candidate;
  }
  return undefined;
}

/** Standard output of a program; its last lines of standard error where it fails. */
function output(command: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    let errors = "";
    child.stdout.on("data", (chunk) => {
      out += chunk;
    });
    child.stderr.on("data", (chunk) => {
      errors += chunk;
    });
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve(out);
      else
        reject(new Error(errors.trim().split("\n").slice(-3).join(" ") || `${command} ended with ${code}`));
    });
  });
}
