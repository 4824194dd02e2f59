/**
 * @file The Hugging Face cache on disk, shared with Python's huggingface_hub:
 * `models--owner--name/{refs/<revision>, blobs/<etag>, snapshots/<commit>/<file>}`, files being links to blobs.
 */

import { copyFile, mkdir, readFile, rename, rm, stat, symlink, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, relative } from "node:path";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Folder of all of Hugging Face's files. Source: huggingface_hub, `constants.py`. */
function home(environment: Environment): string {
  const base = environment.XDG_CACHE_HOME ?? join(homedir(), ".cache");
  return environment.HF_HOME ?? join(base, "huggingface");
}

/** Folder of the cache: HF_HUB_CACHE, else `hub` in HF_HOME, else `~/.cache/huggingface/hub`. */
export function cacheFolder(environment: Environment): string {
  return environment.HF_HUB_CACHE ?? environment.HUGGINGFACE_HUB_CACHE ?? join(home(environment), "hub");
}

/** The token of HF_TOKEN, else the one that `hf auth login` stored. */
export async function storedToken(environment: Environment): Promise<string | undefined> {
  const path = environment.HF_TOKEN_PATH ?? join(home(environment), "token");
  const token = environment.HF_TOKEN ?? (await readFile(path, "utf8").catch(() => ""));
  return token.trim() === "" ? undefined : token.trim();
}

/** One repository's part of the cache. */
export interface RepositoryCache {
  readonly blob: (etag: string) => string;
  readonly snapshot: (commit: string) => string;
  readonly reference: (revision: string) => string;
}

export function repositoryCache(cache: string, name: string): RepositoryCache {
  const folder = join(cache, `models--${name.replaceAll("/", "--")}`);
  return {
    blob: (etag) => join(folder, "blobs", etag),
    snapshot: (commit) => join(folder, "snapshots", commit),
    reference: (revision) => join(folder, "refs", revision),
  };
}

/** Bytes of a file, links followed; undefined if there is none. */
export async function sizeOf(path: string): Promise<number | undefined> {
  return stat(path).then(
    (status) => status.size,
    () => undefined,
  );
}

/** The commit that a branch or tag stood at when it was last downloaded. */
export async function readReference(cache: RepositoryCache, revision: string): Promise<string | undefined> {
  const commit = (await readFile(cache.reference(revision), "utf8").catch(() => "")).trim();
  return /^[0-9a-f]{40}$/.test(commit) ? commit : undefined;
}

export async function writeReference(
  cache: RepositoryCache,
  revision: string,
  commit: string,
): Promise<void> {
  const path = cache.reference(revision);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, commit);
}

/** Puts a blob into a snapshot: as a relative link, as a copy where the file system has no links. */
export async function place(blob: string, file: string): Promise<void> {
  if ((await sizeOf(file)) !== undefined) return;
  await mkdir(dirname(file), { recursive: true });
  await rm(file, { force: true }); // a link whose blob is gone
  try {
    await symlink(relative(dirname(file), blob), file);
  } catch (error) {
    if (isCode(error, "EEXIST")) return; // another process was faster
    const partial = `${file}.${process.pid}.incomplete`;
    await copyFile(blob, partial);
    await rename(partial, file);
  }
}

const isCode = (error: unknown, code: string): boolean =>
  error instanceof Error && "code" in error && error.code === code;
