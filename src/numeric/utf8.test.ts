import { expect, test } from "vitest";
import { random } from "../core/random.ts";
import { decodeUtf8 } from "./utf8.ts";

const reference = (bytes: Uint8Array): string | undefined => {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
};
const decode = (bytes: Uint8Array): string | undefined => decodeUtf8(bytes, 0, bytes.length);

test("every code point decodes as the platform's decoder decodes it", () => {
  const wrong: number[] = [];
  for (let code = 0; code <= 0x10ffff; code += code < 0x3000 ? 1 : 61) {
    if (code >= 0xd800 && code <= 0xdfff) continue;
    const text = String.fromCodePoint(code);
    if (decode(new TextEncoder().encode(text)) !== text) wrong.push(code);
  }
  expect(wrong).toEqual([]);
});

test("text longer than one call's worth, with surrogate pairs on the seam", () => {
  const text = `a${"\u{1f600}é漢".repeat(3001)}`;
  expect(decode(new TextEncoder().encode(text))).toBe(text);
});

test("random and truncated bytes are refused exactly where the platform's decoder refuses them", () => {
  const { integer } = random(9);
  const leads = [
    0x41, 0x80, 0xbf, 0xc0, 0xc2, 0xdf, 0xe0, 0xa0, 0xed, 0x9f, 0xef, 0xf0, 0x90, 0xf4, 0x8f, 0xf5, 0xff,
  ];
  for (let trial = 0; trial < 20_000; trial++) {
    const bytes = Uint8Array.from({ length: integer(6) }, () => leads[integer(leads.length)] ?? 0);
    if (decode(bytes) !== reference(bytes)) expect([...bytes, decode(bytes)]).toEqual(reference(bytes));
  }
});
