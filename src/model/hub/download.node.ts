/**
 * @file Checkpoints from the Hugging Face hub, or a server with the same interface, into the Hugging Face cache:
 * what Python has downloaded is not downloaded again, and the other way round.
 */

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { listFiles } from "@huggingface/hub";
import { inputError } from "../../core/errors.ts";
import {
  cacheFolder,
  place,
  type RepositoryCache,
  readReference,
  repositoryCache,
  sizeOf,
  storedToken,
  writeReference,
} from "./cache.node.ts";
import { type Hub, request, retry, TransientError } from "./request.node.ts";
import { transfer } from "./transfer.node.ts";

export interface DownloadProgress {
  readonly file: string;
  /** Of this file. */
  readonly fileBytes: number;
  readonly fileTotalBytes: number;
  /** Of all files that are not in the cache yet. */
  readonly bytes: number;
  readonly totalBytes: number;
}

export interface DownloadOptions {
  /** Branch, tag or commit; `main` if absent. */
  readonly revision?: string;
  /** Base address of the hub; HF_ENDPOINT, else `https://huggingface.co`. */
  readonly endpoint?: string;
  /** Folder of the cache; HF_HUB_CACHE, else `hub` in HF_HOME, else Hugging Face's default. */
  readonly cacheDir?: string;
  /** Names of the files to fetch; a model's configuration, tokenizer and safetensors if absent. */
  readonly files?: readonly string[];
  /** Read token; HF_TOKEN, else the stored login. */
  readonly token?: string;
  /** Tries for each request and file, and the pause after the first failure (it doubles each time). */
  readonly retries?: { readonly attempts: number; readonly delayMs: number };
  readonly onProgress?: (progress: DownloadProgress) => void;
}

const COMMIT = /^[0-9a-f]{40}$/;
/** Files stand at a repository's top, under names that are safe in any file system. */
const FILE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/;
/** Besides weights. */
const CONFIGURATION = /^(config\.json|generation_config\.json|tokenizer.*\.json|chat_template\.jinja)$/;
/** The largest repositories list about 2,000 files. */
const MAX_FILES = 20_000;
const DEFAULT_RETRIES = { attempts: 6, delayMs: 500 };

/**
 * Downloads a model and returns the folder with its files (`snapshots/<commit>` of the cache). Files already in
 * the cache are not asked for; without a connection, or with HF_HUB_OFFLINE=1, a complete cached snapshot is enough.
 *
 * @param name `owner/name`.
 * @throws InputError for a repository, revision or file that does not exist or may not be read, and for one
 * without safetensors; Error where the connection or a file's hash stays wrong.
 */
export async function download(name: string, options: DownloadOptions = {}): Promise<string> {
  const { revision = "main", files } = options;
  check(name, revision, files ?? []);
  const cache = repositoryCache(options.cacheDir ?? cacheFolder(process.env), name);
  const endpoint = (options.endpoint ?? process.env.HF_ENDPOINT ?? "https://huggingface.co").replace(
    /\/+$/,
    "",
  );
  const hub: Hub = {
    endpoint,
    token: options.token ?? (await storedToken(process.env)),
    ...(options.retries ?? DEFAULT_RETRIES),
  };
  const cached = await completeSnapshot(cache, revision, files);
  if (process.env.HF_HUB_OFFLINE === "1") {
    if (cached !== undefined) return cached;
    throw inputError(
      `hf:${name}@${revision}`,
      "no complete snapshot in the cache",
      "one, as HF_HUB_OFFLINE is set",
    );
  }
  try {
    // With a snapshot to fall back on, one failed try is answer enough.
    const listing = await list(cached === undefined ? hub : { ...hub, attempts: 1 }, name, revision);
    const wanted = choose(listing.files, files, `hf:${name}@${revision}`);
    await fetchAll(hub, { wanted, cache, commit: listing.commit, name, onProgress: options.onProgress });
    if (revision !== listing.commit) await writeReference(cache, revision, listing.commit);
    return cache.snapshot(listing.commit);
  } catch (error) {
    if (error instanceof TransientError && cached !== undefined) return cached;
    throw error;
  }
}

/** Names become paths and addresses, so they are checked first. */
function check(name: string, revision: string, files: readonly string[]): void {
  if (!/^([A-Za-z0-9][\w.-]{0,95}\/)?[A-Za-z0-9][\w.-]{0,95}$/.test(name) || /\.\.|--/.test(name))
    throw inputError("repository", JSON.stringify(name), "owner/name");
  if (!/^\w[\w./-]{0,199}$/.test(revision) || revision.includes(".."))
    throw inputError(`hf:${name}`, JSON.stringify(revision), "a branch, tag or commit");
  const bad = files.filter((file) => !FILE_NAME.test(file));
  if (bad.length > 0)
    throw inputError(`hf:${name}`, bad.join(", "), "names of files at the repository's top");
}

interface ListedFile {
  readonly path: string;
  readonly bytes: number;
  readonly etag: string;
}

/** The commit a revision stands at, and the files at its top. */
async function list(hub: Hub, name: string, revision: string) {
  const address = `${hub.endpoint}/api/models/${name}/revision/${encodeURIComponent(revision)}`;
  const info: unknown = await retry(hub, async () => (await request(hub, address)).json());
  const commit = typeof info === "object" && info !== null && "sha" in info ? String(info.sha) : "";
  if (!COMMIT.test(commit)) throw new Error(`${address}: the answer names no commit`);
  const files: ListedFile[] = [];
  let seen = 0;
  const entries = listFiles({
    repo: { type: "model", name },
    revision: commit,
    hubUrl: hub.endpoint,
    fetch: (url) => retry(hub, () => request(hub, String(url))),
  });
  for await (const { type, path, size, oid, lfs } of entries) {
    if (++seen > MAX_FILES) throw new Error(`hf:${name}: more than ${MAX_FILES} files`);
    const etag = lfs?.oid ?? oid ?? "";
    const bytes = lfs?.size ?? size;
    if (type !== "file" || !FILE_NAME.test(path)) continue;
    if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(etag) || !Number.isSafeInteger(bytes) || bytes < 0)
      throw new Error(`hf:${name}: ${path} is listed without a size or a hash`);
    files.push({ path, bytes, etag });
  }
  return { commit, files };
}

/** The files asked for, else configuration, tokenizer and weights. */
function choose(listed: readonly ListedFile[], files: readonly string[] | undefined, where: string) {
  const names = new Set(listed.map((file) => file.path));
  if (files !== undefined) {
    const missing = files.filter((file) => !names.has(file));
    if (missing.length > 0) throw inputError(where, `no ${missing.join(", ")}`, "files of the repository");
    return listed.filter((file) => files.includes(file.path));
  }
  const weights = weightFiles([...names]);
  if (weights.length === 0)
    throw inputError(
      where,
      "no safetensors",
      "weights as *.safetensors at the repository's top",
      "Choose a repository with safetensors, or download a GGUF file and give its path.",
    );
  return listed.filter((file) => CONFIGURATION.test(file.path) || weights.includes(file.path));
}

/** Some repositories hold their weights twice, under other names: the usual ones come first. */
function weightFiles(names: readonly string[]): readonly string[] {
  const usual = names.filter((name) => /^model(-\d+-of-\d+)?\.safetensors(\.index\.json)?$/.test(name));
  return usual.length > 0 ? usual : names.filter((name) => /\.safetensors(\.index\.json)?$/.test(name));
}

interface Job {
  readonly wanted: readonly ListedFile[];
  readonly cache: RepositoryCache;
  readonly commit: string;
  readonly name: string;
  readonly onProgress: ((progress: DownloadProgress) => void) | undefined;
}

/** Brings every wanted file into the cache and the snapshot. */
async function fetchAll(hub: Hub, { wanted, cache, commit, name, onProgress }: Job): Promise<void> {
  const byEtag = [...new Map(wanted.map((file) => [file.etag, file])).values()]; // equal files share a blob
  const present = await Promise.all(byEtag.map((file) => isPresent(cache, file)));
  const missing = byEtag.filter((_, i) => !present[i]);
  const totalBytes = missing.reduce((sum, file) => sum + file.bytes, 0);
  let done = 0;
  for (const file of missing) {
    await transfer(
      hub,
      { ...file, url: `${hub.endpoint}/${name}/resolve/${commit}/${file.path}` },
      {
        path: cache.blob(file.etag),
        onBytes: (fileBytes) =>
          onProgress?.({
            file: file.path,
            fileBytes,
            fileTotalBytes: file.bytes,
            bytes: done + fileBytes,
            totalBytes,
          }),
      },
    );
    done += file.bytes;
  }
  for (const file of wanted) await place(cache.blob(file.etag), join(cache.snapshot(commit), file.path));
}

const isPresent = async (cache: RepositoryCache, file: ListedFile): Promise<boolean> =>
  (await sizeOf(cache.blob(file.etag))) === file.bytes;

/** The folder of a cached snapshot that has all of a model (or all `files`); undefined if there is none. */
async function completeSnapshot(
  cache: RepositoryCache,
  revision: string,
  files: readonly string[] | undefined,
): Promise<string | undefined> {
  const commit = COMMIT.test(revision) ? revision : await readReference(cache, revision);
  if (commit === undefined) return undefined;
  const folder = cache.snapshot(commit);
  const wanted = files ?? (await modelFiles(folder));
  const sizes = await Promise.all(wanted.map((file) => sizeOf(join(folder, file))));
  return sizes.every((size) => size !== undefined) ? folder : undefined;
}

/** What a snapshot must have to be a model: its configuration, and the weights that are there or in its index. */
async function modelFiles(folder: string): Promise<readonly string[]> {
  const weights = weightFiles(await readdir(folder).catch(() => []));
  const index = weights.find((name) => name.endsWith(".index.json"));
  if (index === undefined) return ["config.json", weights[0] ?? "model.safetensors"];
  try {
    const { weight_map } = JSON.parse(await readFile(join(folder, index), "utf8")) as {
      readonly weight_map: Readonly<Record<string, unknown>>;
    };
    return ["config.json", ...new Set(Object.values(weight_map).map(String))];
  } catch {
    return ["config.json", "model.safetensors"]; // a damaged index: what a download would fetch is not known
  }
}
