import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openRecords } from "./records.node.ts";

const OWNER = "ab".repeat(32);
const records = [3, 0, 40].map((length, seed) => Uint8Array.from({ length }, (_, i) => 7 * i + seed));

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "crosspatch-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function opened(path: string, owner = OWNER) {
  const file = await openRecords(path, owner);
  if (file === undefined) throw new Error("refused");
  return file;
}

async function written(name: string): Promise<string> {
  const path = join(folder, name);
  const file = await opened(path);
  for (const record of records) await file.append(record);
  await file.close();
  return path;
}

/** The records that are read, of those that were written. */
async function readBack(path: string): Promise<number> {
  const file = await opened(path);
  let count = 0;
  for (const record of records) {
    const found = await file.next(record.length);
    if (found === undefined) break;
    expect(found).toEqual(record);
    expect(found.byteOffset).toBe(0);
    count += 1;
  }
  await file.close();
  return count;
}

test("whatever byte a file ends at, the whole records before it are read, and the rest is written again", async () => {
  const path = await written("torn");
  const whole = await readFile(path);
  const ends = [48];
  for (const record of records) ends.push((ends.at(-1) ?? 0) + 36 + record.length);
  expect(whole.length).toBe(ends.at(-1));
  for (let length = 0; length <= whole.length; length++) {
    await writeFile(path, whole.subarray(0, length));
    const kept = ends.filter((end) => end <= length).length - 1;
    expect(await readBack(path)).toBe(Math.max(0, kept));

    const file = await opened(path);
    let missing = 0;
    for (; missing < records.length; missing++) {
      if ((await file.next(records[missing]?.length ?? 0)) === undefined) break;
    }
    for (const record of records.slice(missing)) await file.append(record);
    await file.close();
    expect(await readFile(path)).toEqual(whole);
  }
});

test("a byte that changed ends the records there", async () => {
  const path = await written("changed");
  const whole = await readFile(path);
  for (let at = 48; at < whole.length; at++) {
    const changed = Buffer.from(whole);
    changed[at] = (changed[at] ?? 0) ^ 1;
    await writeFile(path, changed);
    expect(await readBack(path)).toBe(at < 87 ? 0 : at < 123 ? 1 : 2);
  }
});

test("a length other than expected is not believed, however large", async () => {
  const path = await written("length");
  const whole = await readFile(path);
  whole.writeUInt32LE(0xffffffff, 48);
  await writeFile(path, whole);
  expect(await readBack(path)).toBe(0);
  const file = await opened(await written("shorter"));
  expect(await file.next(2)).toBeUndefined();
  expect(await file.next(3)).toBeUndefined(); // nothing counts behind what did not
  await file.close();
});

test("records that moved, or that are another's, do not count", async () => {
  const path = await written("moved");
  const whole = await readFile(path);
  await writeFile(path, Buffer.concat([whole.subarray(0, 48), whole.subarray(87)]));
  const file = await opened(path);
  expect(await file.next(0)).toBeUndefined();
  await file.close();
  expect(await openRecords(path, "cd".repeat(32))).toBeUndefined();
  await writeFile(path, "something else");
  expect(await openRecords(path, OWNER)).toBeUndefined();
  expect(await readFile(path, "utf8")).toBe("something else");
});
