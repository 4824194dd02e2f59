/** @file Downloads from a local server that behaves like the hub, with what goes wrong on real connections. */

import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type DownloadProgress, download } from "./download.node.ts";

const COMMIT = "a".repeat(40);
const OLDER = "b".repeat(40);
const weights = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 7919) % 251));
const contents: Readonly<Record<string, Buffer>> = {
  "config.json": Buffer.from('{"model_type":"llama"}'),
  "generation_config.json": Buffer.from("{}"),
  "tokenizer.json": Buffer.from('{"version":"1.0"}'),
  "tokenizer_config.json": Buffer.from("{}"),
  "chat_template.jinja": Buffer.from("{{ messages }}"),
  "model.safetensors": weights,
  "consolidated.safetensors": Buffer.from("the same weights again"),
  "pytorch_model.bin": Buffer.from("not wanted"),
  "README.md": Buffer.from("not wanted"),
};
const wanted = Object.keys(contents).slice(0, 6).sort();

const digest = (content: Buffer) => createHash("sha256").update(content).digest("hex");
const isLfs = (name: string) => name.endsWith(".safetensors");
function etagOf(name: string): string {
  const content = contents[name] ?? Buffer.alloc(0);
  if (isLfs(name)) return digest(content);
  return createHash("sha1").update(`blob ${content.length}\0`).update(content).digest("hex");
}

/** What the server does to one answer; by default nothing. */
type Trouble = (request: IncomingMessage, response: ServerResponse, name: string) => boolean;

let trouble: Trouble = () => false;
/** Method, path and range of every request for a body. */
let bodies: string[] = [];
let authorizations: (string | undefined)[] = [];
let hub: Server;
let cdn: Server;
let endpoint: string;
let cacheDir: string;

const address = (server: Server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
const listen = (server: Server) => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const close = (server: Server) =>
  new Promise<void>((resolve) => {
    server.closeAllConnections();
    server.close(() => resolve());
  });

function json(response: ServerResponse, status: number, value: unknown, headers = {}): void {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(value));
}

function tree(names: readonly string[]) {
  const files = names.map((path) => {
    const size = contents[path]?.length ?? 0;
    const pointer = { type: "file", path, size, oid: isLfs(path) ? "0".repeat(40) : etagOf(path) };
    return isLfs(path) ? { ...pointer, lfs: { oid: etagOf(path), size, pointerSize: 130 } } : pointer;
  });
  return [{ type: "directory", path: "onnx", size: 0, oid: "1".repeat(40) }, ...files];
}

/** The hub: model information, the tree in two pages, and redirects to the place the content is at. */
function answer(request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? "", endpoint);
  const [, revision] = /^\/api\/models\/owner\/name\/revision\/([^/]+)$/.exec(url.pathname) ?? [];
  const commits: Readonly<Record<string, string>> = {
    main: COMMIT,
    [COMMIT]: COMMIT,
    "v1.0": OLDER,
    [OLDER]: OLDER,
  };
  if (trouble(request, response, "")) return;
  if (revision !== undefined) {
    const sha = commits[decodeURIComponent(revision)];
    if (sha === undefined)
      json(response, 404, { error: "Invalid rev" }, { "X-Error-Code": "RevisionNotFound" });
    else json(response, 200, { id: "owner/name", sha });
    return;
  }
  if (/\/api\/models\/owner\/gated\//.test(url.pathname)) {
    json(response, 401, { error: "restricted" }, { "X-Error-Code": "GatedRepo" });
    return;
  }
  if (/^\/api\/models\/owner\/name\/tree\//.test(url.pathname)) {
    const names = Object.keys(contents);
    const second = url.searchParams.has("cursor");
    const link = second ? {} : { link: `<${endpoint}${url.pathname}?cursor=x>; rel="next"` };
    json(response, 200, tree(second ? names.slice(4) : names.slice(0, 4)), link);
    return;
  }
  const [, commit, name = ""] = /^\/owner\/name\/resolve\/([0-9a-f]{40})\/(.+)$/.exec(url.pathname) ?? [];
  if (commit !== undefined && contents[name] !== undefined) {
    const headers = {
      "X-Repo-Commit": commit,
      "X-Linked-Etag": `"${etagOf(name)}"`,
      ETag: `"${etagOf(name)}"`,
    };
    response.writeHead(302, { ...headers, location: `${address(cdn)}/blobs/${name}` }).end();
    return;
  }
  json(response, 404, { error: "Repository not found" }, { "X-Error-Code": "RepoNotFound" });
}

/** Where content is served from, whole or by range. */
function serve(request: IncomingMessage, response: ServerResponse): void {
  const name = (request.url ?? "").replace("/blobs/", "");
  bodies.push(`${name}${request.headers.range === undefined ? "" : ` ${request.headers.range}`}`);
  authorizations.push(request.headers.authorization);
  if (trouble(request, response, name)) return;
  const content = contents[name] ?? Buffer.alloc(0);
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
  const part = content.subarray(start);
  const range = { "content-range": `bytes ${start}-${content.length - 1}/${content.length}` };
  response
    .writeHead(start > 0 ? 206 : 200, { "content-length": part.length, ...(start > 0 ? range : {}) })
    .end(part);
}

beforeEach(async () => {
  hub = createServer(answer);
  cdn = createServer(serve);
  await Promise.all([listen(hub), listen(cdn)]);
  endpoint = address(hub);
  cacheDir = await mkdtemp(join(tmpdir(), "hub-"));
  trouble = () => false;
  bodies = [];
  authorizations = [];
  for (const name of ["HF_TOKEN", "HF_HUB_OFFLINE", "HF_ENDPOINT", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"])
    vi.stubEnv(name, undefined);
  vi.stubEnv("HF_HOME", join(cacheDir, "home"));
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await Promise.all([close(hub), close(cdn)]);
  await rm(cacheDir, { recursive: true });
});

const retries = { attempts: 3, delayMs: 1 };
const fetchModel = (options: Parameters<typeof download>[1] = {}) =>
  download("owner/name", { endpoint, cacheDir, retries, ...options });
const blobs = async () =>
  (await readdir(join(cacheDir, "models--owner--name", "blobs")).catch(() => [])).sort();

describe("a fresh download", () => {
  test("brings configuration, tokenizer and the usual weights, byte for byte, and nothing else", async () => {
    const folder = await fetchModel();
    expect(folder).toBe(join(cacheDir, "models--owner--name", "snapshots", COMMIT));
    expect((await readdir(folder)).sort()).toEqual(wanted);
    for (const name of wanted)
      expect(digest(await readFile(join(folder, name)))).toBe(digest(contents[name] ?? Buffer.alloc(0)));
  });

  test("leaves the cache as Python's huggingface_hub lays it out", async () => {
    const folder = await fetchModel();
    expect(await readlink(join(folder, "config.json"))).toBe(
      join("..", "..", "blobs", etagOf("config.json")),
    );
    expect(await readFile(join(cacheDir, "models--owner--name", "refs", "main"), "utf8")).toBe(COMMIT);
    expect(await blobs()).toEqual([...new Set(wanted.map(etagOf))].sort());
  });

  test("reports bytes that grow to the sum of all files", async () => {
    const reports: DownloadProgress[] = [];
    await fetchModel({ onProgress: (progress) => reports.push(progress) });
    const byBlob = new Map(wanted.map((name) => [etagOf(name), contents[name]?.length ?? 0])); // two are equal
    const total = [...byBlob.values()].reduce((sum, length) => sum + length, 0);
    const bytes = reports.map((report) => report.bytes);
    expect(bytes).toEqual([...bytes].sort((a, b) => a - b));
    expect([bytes.at(-1), reports.at(-1)?.totalBytes]).toEqual([total, total]);
  });

  test("sends the token to the hub and not to where it redirects", async () => {
    const asked: (string | undefined)[] = [];
    trouble = (request, _, name) => {
      if (name === "") asked.push(request.headers.authorization);
      return false;
    };
    await fetchModel({ token: "hf_secret" });
    expect(new Set(asked)).toEqual(new Set(["Bearer hf_secret"]));
    expect(new Set(authorizations)).toEqual(new Set([undefined]));
  });
});

describe("what is in the cache already", () => {
  test("is not asked for again", async () => {
    const first = await fetchModel();
    bodies = [];
    expect(await fetchModel()).toBe(first);
    expect(bodies).toEqual([]);
  });

  test("may have been put there by Python", async () => {
    const blob = join(cacheDir, "models--owner--name", "blobs", etagOf("model.safetensors"));
    await mkdir(dirname(blob), { recursive: true });
    await writeFile(blob, weights);
    await fetchModel();
    expect(bodies).not.toContain("model.safetensors");
  });

  test("is enough without a connection", async () => {
    const first = await fetchModel();
    await close(hub);
    expect(await fetchModel()).toBe(first);
    vi.stubEnv("HF_HUB_OFFLINE", "1");
    expect(await fetchModel()).toBe(first);
    hub = createServer(answer);
    await listen(hub);
  });

  test("is complete only with every shard that its index names", async () => {
    const index = '{"weight_map":{"a":"model-1-of-2.safetensors","b":"model-2-of-2.safetensors"}}';
    const folder = await fetchModel({ files: ["config.json"] });
    await writeFile(join(folder, "model.safetensors.index.json"), index);
    await writeFile(join(folder, "model-1-of-2.safetensors"), "");
    vi.stubEnv("HF_HUB_OFFLINE", "1");
    await expect(fetchModel()).rejects.toThrow("no complete snapshot");
    await writeFile(join(folder, "model-2-of-2.safetensors"), "");
    expect(await fetchModel()).toBe(folder);
  });

  test("is not enough without a connection where weights are missing", async () => {
    await fetchModel({ files: ["config.json"] });
    vi.stubEnv("HF_HUB_OFFLINE", "1");
    await expect(fetchModel()).rejects.toThrow(
      "hf:owner/name@main: found no complete snapshot in the cache; wanted one, as HF_HUB_OFFLINE is set.",
    );
  });
});

describe("a revision", () => {
  test("is pinned by its commit, and a tag's commit is noted", async () => {
    expect(await fetchModel({ revision: "v1.0" })).toMatch(new RegExp(`${OLDER}$`));
    expect(await readFile(join(cacheDir, "models--owner--name", "refs", "v1.0"), "utf8")).toBe(OLDER);
    expect(await fetchModel({ revision: OLDER })).toMatch(new RegExp(`${OLDER}$`));
    expect(await readdir(join(cacheDir, "models--owner--name", "refs"))).toEqual(["v1.0"]);
  });
});

describe("a broken connection", () => {
  /** Closes the connection in the middle of the weights, `times` times. */
  const breakOff =
    (times: number): Trouble =>
    (request, response, name) => {
      if (name !== "model.safetensors" || times-- <= 0) return false;
      const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
      const range = { "content-range": `bytes ${start}-${weights.length - 1}/${weights.length}` };
      response.writeHead(start > 0 ? 206 : 200, {
        "content-length": weights.length - start,
        ...(start > 0 ? range : {}),
      });
      response.write(weights.subarray(start, start + 100_000), () =>
        setTimeout(() => response.destroy(), 20),
      );
      return true;
    };

  test("is taken up where it broke", async () => {
    trouble = breakOff(2);
    const folder = await fetchModel();
    expect(digest(await readFile(join(folder, "model.safetensors")))).toBe(digest(weights));
    const ranges = bodies.filter((body) => body.startsWith("model.safetensors"));
    expect(ranges).toEqual([
      "model.safetensors",
      "model.safetensors bytes=100000-",
      "model.safetensors bytes=200000-",
    ]);
  });

  test("is taken up by the next run where all tries broke", async () => {
    trouble = breakOff(1);
    await expect(fetchModel({ retries: { attempts: 1, delayMs: 1 } })).rejects.toThrow(
      /the connection broke after 100000 bytes/,
    );
    expect(await blobs()).toContain(`${etagOf("model.safetensors")}.incomplete`);
    bodies = [];
    const folder = await fetchModel();
    expect(bodies).toContain("model.safetensors bytes=100000-");
    expect(digest(await readFile(join(folder, "model.safetensors")))).toBe(digest(weights));
  });

  test("begins again where the server ignores ranges", async () => {
    const partial = join(
      cacheDir,
      "models--owner--name",
      "blobs",
      `${etagOf("model.safetensors")}.incomplete`,
    );
    await mkdir(dirname(partial), { recursive: true });
    await writeFile(partial, weights.subarray(0, 5000));
    trouble = (_, response, name) => {
      if (name !== "model.safetensors") return false;
      response.writeHead(200, { "content-length": weights.length }).end(weights);
      return true;
    };
    expect(digest(await readFile(join(await fetchModel(), "model.safetensors")))).toBe(digest(weights));
  });

  test("is tried as often as asked and no more", async () => {
    let tries = 0;
    trouble = (_, response) => {
      tries++;
      response.writeHead(503).end();
      return true;
    };
    await expect(fetchModel()).rejects.toThrow(/the server answered 503/);
    expect(tries).toBe(3);
  });
});

describe("damaged content", () => {
  /** One byte of the weights is wrong, in every answer. */
  const damage: Trouble = (_, response, name) => {
    if (name !== "model.safetensors") return false;
    const wrong = Buffer.from(weights);
    wrong[1234] = (wrong[1234] ?? 0) ^ 1;
    response.writeHead(200, { "content-length": wrong.length }).end(wrong);
    return true;
  };

  test("is refused, and nothing of it stays", async () => {
    trouble = damage;
    await expect(fetchModel()).rejects.toThrow(
      `the hub lists ${etagOf("model.safetensors")}; nothing was kept, try again`,
    );
    expect((await blobs()).filter((blob) => blob.startsWith(etagOf("model.safetensors")))).toEqual([]);
    expect(await readdir(join(cacheDir, "models--owner--name", "snapshots")).catch(() => [])).toEqual([]);
  });

  test("from an earlier run is fetched afresh", async () => {
    const partial = join(
      cacheDir,
      "models--owner--name",
      "blobs",
      `${etagOf("model.safetensors")}.incomplete`,
    );
    await mkdir(dirname(partial), { recursive: true });
    await writeFile(partial, Buffer.alloc(5000, 255));
    expect(digest(await readFile(join(await fetchModel(), "model.safetensors")))).toBe(digest(weights));
    expect(bodies.filter((body) => body.startsWith("model.safetensors"))).toEqual([
      "model.safetensors bytes=5000-",
      "model.safetensors",
    ]);
  });
});

describe("refusals", () => {
  test("a repository or revision that does not exist", async () => {
    await expect(download("owner/absent", { endpoint, cacheDir, retries })).rejects.toThrow(
      `${endpoint}/api/models/owner/absent/revision/main: found 404 (RepoNotFound); wanted a repository, revision and file that exist. Check the name and the revision.`,
    );
    await expect(fetchModel({ revision: "v9" })).rejects.toThrow("found 404 (RevisionNotFound)");
  });

  test("a gated repository", async () => {
    await expect(download("owner/gated", { endpoint, cacheDir, retries })).rejects.toThrow(
      `found 401 (GatedRepo); wanted a public repository, or a token that may read it. Accept the conditions on the model's page at ${endpoint} and set HF_TOKEN.`,
    );
  });

  test("a file the repository lacks", async () => {
    await expect(fetchModel({ files: ["config.json", "absent.json"] })).rejects.toThrow(
      "hf:owner/name@main: found no absent.json; wanted files of the repository.",
    );
  });

  test("a repository without safetensors", async () => {
    trouble = (request, response) => {
      if (!request.url?.includes("/tree/")) return false;
      json(response, 200, tree(["config.json", "pytorch_model.bin"]));
      return true;
    };
    await expect(fetchModel()).rejects.toThrow(
      "hf:owner/name@main: found no safetensors; wanted weights as *.safetensors",
    );
    expect(bodies).toEqual([]);
  });

  test.each(["../x", "a/b/c", "a--b/c", "a/..", ""])("the name %j", async (name) => {
    await expect(download(name, { endpoint, cacheDir })).rejects.toThrow("wanted owner/name.");
  });

  test("names that would leave the cache, from the user or from the server", async () => {
    await expect(fetchModel({ files: ["../config.json"] })).rejects.toThrow("wanted names of files");
    await expect(fetchModel({ revision: "../../x" })).rejects.toThrow("wanted a branch, tag or commit");
    trouble = (request, response) => {
      if (!request.url?.includes("/revision/")) return false;
      json(response, 200, { id: "owner/name", sha: "../../../etc" });
      return true;
    };
    await expect(fetchModel()).rejects.toThrow("the answer names no commit");
  });
});
