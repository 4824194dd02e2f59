/** @file The byte alphabet of byte-level BPE: one printable character for each of the 256 bytes. */

/**
 * Printable Latin-1 bytes stand for themselves, the other 68 for U+0100 onwards, in order.
 * Source: openai/gpt-2 src/encoder.py, `bytes_to_unicode`.
 */
export const characterOfByte: readonly string[] = (() => {
  const isPrintable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(isPrintable(byte) ? byte : next++));
})();

const byteOfCharacter: ReadonlyMap<string, number> = new Map(
  characterOfByte.map((character, byte) => [character, byte]),
);

/** The bytes that a byte-level token spells; undefined if a character is not of the alphabet. */
export function bytesOfToken(token: string): number[] | undefined {
  const bytes: number[] = [];
  for (const character of token) {
    const byte = byteOfCharacter.get(character);
    if (byte === undefined) return undefined;
    bytes.push(byte);
  }
  return bytes;
}

/** The byte of a byte-fallback token such as `<0x0A>`; undefined for any other token. */
export function fallbackByte(token: string): number | undefined {
  const hex = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1];
  return hex === undefined ? undefined : Number.parseInt(hex, 16);
}
