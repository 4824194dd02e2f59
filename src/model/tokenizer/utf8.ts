/** @file UTF-8 decoding that says which bytes were not text: labels show those bytes, decoding replaces them. */

/** Length of the sequence that a lead byte announces, and the bounds of its second byte (Unicode 16, table 3-7). */
function sequence(lead: number): { length: number; low: number; high: number } | undefined {
  if (lead < 0x80) return { length: 1, low: 0x80, high: 0xbf };
  if (lead >= 0xc2 && lead <= 0xdf) return { length: 2, low: 0x80, high: 0xbf };
  if (lead >= 0xe0 && lead <= 0xef)
    return { length: 3, low: lead === 0xe0 ? 0xa0 : 0x80, high: lead === 0xed ? 0x9f : 0xbf };
  if (lead >= 0xf0 && lead <= 0xf4)
    return { length: 4, low: lead === 0xf0 ? 0x90 : 0x80, high: lead === 0xf4 ? 0x8f : 0xbf };
  return undefined;
}

/**
 * Decodes UTF-8. Every maximal ill-formed subpart (Unicode 16, section 3.9, "U+FFFD substitution of
 * maximal subparts", what Rust's `from_utf8_lossy` and the WHATWG decoder do too) goes through `replace`.
 */
export function decodeUtf8(
  bytes: readonly number[],
  replace: (illFormed: readonly number[]) => string,
): string {
  let text = "";
  for (let i = 0; i < bytes.length; ) {
    const form = sequence(bytes[i] ?? 0);
    let end = i + 1;
    let { low, high } = form ?? { low: 0, high: -1 };
    while (form !== undefined && end < i + form.length && end < bytes.length) {
      const byte = bytes[end] ?? 0;
      if (byte < low || byte > high) break;
      [low, high] = [0x80, 0xbf];
      end++;
    }
    const part = bytes.slice(i, end);
    text += form !== undefined && part.length === form.length ? character(part) : replace(part);
    i = end;
  }
  return text;
}

/** The character of a complete, well-formed sequence. */
function character(bytes: readonly number[]): string {
  const [lead = 0, ...rest] = bytes;
  const leadBits = bytes.length === 1 ? 0x7f : 0x7f >> bytes.length;
  return String.fromCodePoint(rest.reduce((code, byte) => (code << 6) | (byte & 0x3f), lead & leadBits));
}

/** One U+FFFD for each ill-formed subpart. */
export const replacementCharacter = (): string => "\ufffd";

/** `\xE2\x82` for the bytes E2 82. */
export const hexEscapes = (bytes: readonly number[]): string =>
  bytes.map((byte) => `\\x${byte.toString(16).toUpperCase().padStart(2, "0")}`).join("");
