/** @file The command edges on the embedded model: its files, its replay, its refusals by their text. */
import { access, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { crosspatch, EXAMPLE } from "./testing.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "crosspatch-"));
});
afterAll(() => rm(folder, { recursive: true }));

const edges = (...argv: readonly string[]) => crosspatch("edges", "pocket", ...EXAMPLE, ...argv);

describe("what it writes", () => {
  test("a result with the circuit beside it, and an experiment that replays to the same numbers", async () => {
    const [out, circuit] = [join(folder, "run"), join(folder, "circuit.json")];
    const ran = await edges("--size", "30", "--verify-top", "3", "--circuit", circuit, "--out", out);
    expect(ran.status, ran.stderr).toBe(0);
    expect(ran.stderr).toContain(`wrote ${out}, ${circuit}`);
    const result = JSON.parse(await readFile(join(out, "result.json"), "utf8"));
    const file = JSON.parse(await readFile(circuit, "utf8"));
    const names: string[] = result.coords.edge.data;
    expect(Object.keys(file.edges)).toEqual(names);
    for (const [index, name] of names.entries()) {
      expect(file.edges[name]).toEqual({
        score: result.data_vars.score.data[index],
        in_graph: result.data_vars.in_graph.data[index] === 1,
      });
    }
    expect(result.attrs.circuit.edges).toBe(names.filter((name) => file.edges[name].in_graph).length);
    expect(result.attrs.verified).toBe(3);
    const again = await crosspatch("experiment", join(out, "experiment.json"), "--json", "-", "--quiet");
    expect(JSON.parse(again.stdout).data_vars).toEqual(result.data_vars);
  });

  test("edges of a file, exact: what whole passes give, and what the estimates of them were held against", async () => {
    const list = join(folder, "edges.txt");
    const estimated = JSON.parse((await edges("--verify-top", "4", "--json", "-", "--quiet")).stdout);
    const names: string[] = estimated.coords.edge.data;
    const { score_exact: checked } = estimated.data_vars;
    const verified = names.filter((_, index) => checked.data[index] !== null);
    expect(verified.length).toBe(4);
    await writeFile(list, `# some\n${verified.join("\n")}\n`);
    const ran = await edges("--method", "exact", "--edges-file", list, "--json", "-", "--quiet");
    expect(ran.status, ran.stderr).toBe(0);
    const exact = JSON.parse(ran.stdout);
    expect(exact.coords.edge.data).toEqual(verified);
    expect(exact.attrs.method).toBe("exact-edges");
    for (const [index, name] of verified.entries())
      expect(exact.data_vars.score.data[index]).toBeCloseTo(checked.data[names.indexOf(name)], 4);
  });

  test("in the terminal: the edges, what a score is, the circuit, the agreement", async () => {
    const { stdout } = await edges("--method", "eap-ig", "--steps", "2", "--select", "top-n", "--size", "40");
    expect(stdout).toMatch(/^edge +estimate +exact +circuit$/m);
    expect(stdout).toMatch(
      /^Circuit: \d+ edges between \d+ of \d+ nodes, of 40 chosen the largest anywhere/m,
    );
    expect(stdout).toMatch(/^20 largest estimates against exact scores:/m);
    expect(stdout.replaceAll("\n", " ")).toMatch(/edges estimated in 4 forward passes and 2 backward passes/);
  });
});

describe("what it refuses", () => {
  const refusal = async (...argv: readonly string[]): Promise<string[]> => {
    const { status, stdout, stderr } = await edges(...argv);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    return stderr.trim().split("\n");
  };

  test("options of other methods, all at once", async () => {
    expect(
      await refusal("--method", "exact", "--steps", "3", "--compatible", "--verify-top", "2", "--size", "0"),
    ).toEqual([
      '--size: found "0"; wanted a whole number, 1 or more.',
      "--steps: found --method exact; wanted --method eap-ig or --method eap-ig-activations with it.",
      "--compatible: found --method exact; wanted --method eap-ig-activations with it.",
      "--verify-top: found --method exact; wanted a method that estimates with it.",
    ]);
  });

  test("names of edges that the model does not have, by their lines", async () => {
    const list = join(folder, "strange.txt");
    await writeFile(list, "a0.h0->m0\nm1->m0\nq3->logits\n");
    expect(await refusal("--edges-file", list)).toEqual([
      `${list}:2: found "m1->m0"; wanted a source that writes before m0 reads.`,
      expect.stringContaining(`${list}:3: found "q3->logits"; wanted SOURCE->TARGET`),
    ]);
  });

  test("a place for the circuit that cannot be written, before anything runs", async () => {
    const [line] = await refusal("--circuit", folder);
    expect(line).toBe(`--circuit: found ${folder}, a directory; wanted a file's name.`);
    const same = join(folder, "same.json");
    expect(await refusal("--circuit", same, "--json", same)).toEqual([
      `--circuit: found ${same}, as --json; wanted a file of its own.`,
    ]);
    await expect(access(same)).rejects.toThrow();
  });
});
