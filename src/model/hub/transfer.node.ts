/**
 * @file One file from a hub to a path: resumed where an earlier try stopped, in place only once its hash is right.
 * Two processes that fetch the same file at once spoil each other's partial file; the hash then refuses both.
 */

import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { pipeline } from "node:stream/promises";
import { sizeOf } from "./cache.node.ts";
import { type Hub, reasonOf, request, retry, TransientError } from "./request.node.ts";

/** A file as the hub lists it. */
export interface RemoteFile {
  readonly url: string;
  readonly bytes: number;
  /** SHA-256 of an LFS file (64 digits), git's blob id of any other (40 digits); both are the blob's name. */
  readonly etag: string;
}

/** The content did not have the listed hash. */
class HashError extends Error {}

/** Downloads to `path`, by way of `path.incomplete`. `onBytes` gets the bytes on disk so far. */
export async function transfer(
  hub: Hub,
  file: RemoteFile,
  { path, onBytes }: { readonly path: string; readonly onBytes: (bytes: number) => void },
): Promise<void> {
  const partial = `${path}.incomplete`;
  await mkdir(dirname(path), { recursive: true });
  const resumed = ((await sizeOf(partial)) ?? 0) > 0;
  const attempt = () =>
    retry(hub, () => append(hub, file, { partial, onBytes })).then(() => verify(file, partial));
  try {
    await attempt();
  } catch (error) {
    // What an earlier run left may be of another kind or damaged; what this run fetched is not tried twice.
    if (!(error instanceof HashError && resumed)) throw error;
    await attempt();
  }
  await rename(partial, path);
}

/** Fetches what the partial file lacks. */
async function append(
  hub: Hub,
  file: RemoteFile,
  { partial, onBytes }: { readonly partial: string; readonly onBytes: (bytes: number) => void },
): Promise<void> {
  let present = (await sizeOf(partial)) ?? 0;
  if (present > file.bytes) {
    await rm(partial, { force: true });
    present = 0;
  }
  if (present === file.bytes && present > 0) return;
  const response = await request(hub, file.url, present > 0 ? { range: `bytes=${present}-` } : {});
  const continues = response.status === 206 && startsAt(response, present);
  if (response.status === 206 && !continues)
    throw new TransientError(`${file.url}: another range than asked for`);
  let bytes = continues ? present : 0;
  onBytes(bytes);
  const { body } = response;
  const count = async function* () {
    for await (const chunk of body ?? []) {
      bytes += chunk.byteLength;
      if (bytes > file.bytes) throw new Error(`${file.url}: more than the listed ${file.bytes} bytes`);
      onBytes(bytes);
      yield chunk;
    }
  };
  try {
    await pipeline(count, createWriteStream(partial, { flags: continues ? "a" : "w" }));
  } catch (cause) {
    if (bytes > file.bytes) {
      await rm(partial, { force: true });
      throw cause;
    }
    if (isDiskError(cause)) throw cause;
    throw new TransientError(`${file.url}: the connection broke after ${bytes} bytes (${reasonOf(cause)})`, {
      cause,
    });
  }
  if (bytes < file.bytes)
    throw new TransientError(`${file.url}: ended after ${bytes} of ${file.bytes} bytes`);
}

/** `Content-Range: bytes 100-199/200` starts at 100. */
const startsAt = (response: Response, offset: number): boolean =>
  response.headers.get("content-range")?.startsWith(`bytes ${offset}-`) ?? false;

/** A full disk or a forbidden folder does not get better by trying again. */
const isDiskError = (error: unknown): boolean =>
  error instanceof Error && "syscall" in error && ["open", "write", "close"].includes(String(error.syscall));

/** Throws, and removes the partial file, unless it has the listed hash. */
async function verify(file: RemoteFile, partial: string): Promise<void> {
  const isLfs = file.etag.length === 64;
  const hash = createHash(isLfs ? "sha256" : "sha1");
  if (!isLfs) hash.update(`blob ${file.bytes}\0`); // what git hashes in front of a file's content
  await pipeline(createReadStream(partial), hash);
  const found = hash.digest("hex");
  if (found === file.etag) return;
  await rm(partial, { force: true });
  throw new HashError(
    `${file.url}: the content's ${isLfs ? "sha256" : "git id"} is ${found}, the hub lists ${file.etag}; ` +
      "nothing was kept, try again",
  );
}
