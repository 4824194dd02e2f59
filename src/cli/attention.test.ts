import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { attention, load } from "../index.ts";
import { fromJson, toJson } from "../result/json.ts";
import type { Dataset } from "../result/result.ts";
import { crosspatch } from "./testing.ts";

const PROMPT = "When Mary and John went to the store, John gave a drink to";
let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "crosspatch-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function attended(...argv: readonly string[]): Promise<Dataset> {
  const { status, stdout, stderr } = await crosspatch("attention", "pocket", ...argv, "--json", "-");
  expect(status, stderr).toBe(0);
  return fromJson(JSON.parse(stdout));
}

test("attention writes what the library computes, with the roles of a file", async () => {
  const roles = { second: ["John", 2], shop: "the store" } as const;
  const facts = [{ prompt: PROMPT, answer: " Mary", roles }];
  const file = join(folder, "prompts.jsonl");
  await writeFile(file, facts.map((fact) => `${JSON.stringify(fact)}\n`).join(""));
  const found = await attended("--prompts", file, "--patterns", "3.1", "--from", "all");
  expect(found.coords.role?.data).toEqual(["answer", "second", "shop"]);
  expect(found.coords.token?.data[10]).toBe(" John");
  const model = await load("pocket");
  const own = await attention(model, facts, { patterns: [{ layer: 3, head: 1 }], from: "all" });
  await model.close();
  expect(toJson(found).data_vars).toEqual(toJson(own).data_vars);
  // The last row of 3.1's pattern on the second "John" is that head's share on that role at the last position.
  const last = await attended("--prompts", file, "--patterns", "3.1");
  const pattern = last.dataVars.pattern?.data ?? [];
  const to = last.dataVars.attention_to?.data ?? [];
  expect(to[32 + 13]).toBeCloseTo(Number(pattern[14 * 15 + 10]), 6); // role 1, layer 3, head 1
});

test("random tokens said twice are the same for a seed, and every second one has an earlier copy", async () => {
  const first = await attended("--repeat", "5", "--n", "3", "--seed", "4");
  const again = await attended("--repeat", "5", "--n", "3", "--seed", "4");
  expect(toJson(again).data_vars).toEqual(toJson(first).data_vars);
  expect(first.attrs.rows).toMatchObject({ duplicate_token: 15, induction: 15 });
  const { pairs } = first.attrs.prompts as {
    readonly pairs: readonly { readonly tokens: readonly number[] }[];
  };
  for (const { tokens } of pairs) expect(tokens.slice(1, 6)).toEqual(tokens.slice(6)); // after the begin token
});

test("what contradicts itself is refused", async () => {
  for (const [argv, message] of [
    [["--repeat", "5", "--prompt", PROMPT], "--prompt: found --repeat; wanted one of the two"],
    [
      ["--prompt", PROMPT, "--patterns", "a.1,2"],
      '--patterns: found "a.1,2"; wanted heads such as 9.6,9.9, each once, or all',
    ],
    [
      ["--prompt", PROMPT, "--patterns", "3.1,3.1"],
      '--patterns: found "3.1,3.1"; wanted heads such as 9.6,9.9, each once, or all.',
    ],
    [[], "--prompts: found no prompts"],
    [["--prompt", PROMPT, "--n", "3"], "--n: found no --task"],
  ] as const) {
    const { status, stderr } = await crosspatch("attention", "pocket", ...argv);
    expect(status).toBe(2);
    expect(stderr).toContain(message);
  }
});

test("roles that a prompt does not hold are refused with their lines", async () => {
  const file = join(folder, "strange.jsonl");
  const lines = [
    { prompt: PROMPT, roles: { third: ["John", 3] } },
    { prompt: PROMPT, roles: { place: "Paris" } },
  ];
  await writeFile(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  const { status, stderr } = await crosspatch("attention", "pocket", "--prompts", file);
  expect(status).toBe(2);
  expect(stderr).toContain(':1, roles.third: found "John", occurrence 3; wanted a part of "When');
  expect(stderr).toContain(':2, roles.place: found "Paris"; wanted a part of "When');
});
