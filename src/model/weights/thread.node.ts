/** @file A thread that reads and decodes weights: the entry of `threads.node.ts`'s workers. */

import { parentPort } from "node:worker_threads";
import { answer, type Request } from "./work.node.ts";

parentPort?.on("message", async (request: Request) => {
  const found = await answer(request);
  parentPort?.postMessage(found, found.kind === "values" ? found.values.map(({ buffer }) => buffer) : []);
});
