/** @file Requests to a hub: bounded retries, and refusals in words that say what to do. */

import { setTimeout as sleep } from "node:timers/promises";
import { inputError } from "../../core/errors.ts";

/** Which hub, who asks, and how patiently. */
export interface Hub {
  /** Without a slash at the end, e.g. `https://huggingface.co`. */
  readonly endpoint: string;
  readonly token: string | undefined;
  /** Tries for one request or one file. */
  readonly attempts: number;
  /** Pause after the first failure; it doubles with each further one. */
  readonly delayMs: number;
}

/** Longest pause between two tries, also where the server asks for a longer one. */
const MAX_DELAY_MS = 30_000;
/** A hub that has not begun to answer by then does not answer. */
const ANSWER_TIMEOUT_MS = 60_000;

/** The connection failed, or the server did: another try may succeed. */
export class TransientError extends Error {
  /** A pause the server asked for. */
  readonly afterMs: number | undefined;

  constructor(
    message: string,
    options: { readonly cause?: unknown; readonly afterMs?: number | undefined } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = "TransientError";
    this.afterMs = options.afterMs;
  }
}

/** Tries `task` until it succeeds, fails for good, or has failed `attempts` times. */
export async function retry<T>(hub: Hub, task: () => Promise<T>): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await task();
    } catch (error) {
      if (!(error instanceof TransientError) || failures >= hub.attempts) throw error;
      const pause = Math.max(hub.delayMs * 2 ** (failures - 1), error.afterMs ?? 0);
      await sleep(Math.min(pause, MAX_DELAY_MS));
    }
  }
}

/** One request without retries; an answer that is no success is a {@link TransientError} or an InputError. */
export async function request(
  hub: Hub,
  url: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  const authorization = hub.token === undefined ? {} : { authorization: `Bearer ${hub.token}` };
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(new Error("no answer in time")), ANSWER_TIMEOUT_MS);
  let response: Response;
  try {
    // Identity: a compressed body has neither the listed size nor meaningful ranges.
    const all = { "accept-encoding": "identity", ...authorization, ...headers };
    response = await fetch(url, { headers: all, signal: controller.signal });
  } catch (cause) {
    throw new TransientError(`${url}: no connection (${reasonOf(cause)})`, { cause });
  } finally {
    clearTimeout(timer);
  }
  if (response.ok) return response;
  await response.body?.cancel();
  if (response.status === 408 || response.status === 429 || response.status >= 500) {
    const seconds = Number(response.headers.get("retry-after"));
    const afterMs = Number.isFinite(seconds) ? seconds * 1000 : undefined;
    throw new TransientError(`${url}: the server answered ${response.status}`, { afterMs });
  }
  throw refused(hub, url, response);
}

/** The innermost reason: `fetch` wraps the system's error. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : reasonOf(error.cause);
}

/** The hub says in `X-Error-Code` whether a repository is gated or missing; without a token both are 401. */
function refused(hub: Hub, url: string, response: Response): Error {
  const code = response.headers.get("x-error-code") ?? "";
  const found = `${response.status}${code === "" ? "" : ` (${code})`}`;
  if (response.status === 404)
    return inputError(
      url,
      found,
      "a repository, revision and file that exist",
      "Check the name and the revision.",
    );
  if (response.status === 401 || response.status === 403)
    return inputError(
      url,
      found,
      "a public repository, or a token that may read it",
      code === "GatedRepo"
        ? `Accept the conditions on the model's page at ${hub.endpoint} and set HF_TOKEN.`
        : "Check the name; for a private or gated repository set HF_TOKEN.",
    );
  return new Error(`${url}: the server answered ${found}`);
}
