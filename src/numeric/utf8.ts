/** @file Strict UTF-8 for text inside binary headers, where each of 100,000 short strings must cost little. */

const UNITS_PER_CALL = 4096; // arguments of one String.fromCharCode call; engines allow at least 65,535
const units = new Uint16Array(UNITS_PER_CALL + 1);

/** Decodes `bytes[start, end)`; `undefined` where that is not well-formed UTF-8 (RFC 3629). */
export function decodeUtf8(bytes: Uint8Array, start: number, end: number): string | undefined {
  let text = "";
  let count = 0;
  for (let i = start; i < end; ) {
    const lead = bytes[i++];
    let code = lead;
    if (lead >= 0x80) {
      const extra = lead < 0xc2 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf5 ? 3 : 0;
      if (extra === 0 || i + extra > end) return undefined;
      code = lead & (0x3f >> extra);
      for (let k = 0; k < extra; k++) {
        const next = bytes[i++];
        if ((next & 0xc0) !== 0x80) return undefined;
        code = (code << 6) | (next & 0x3f);
      }
      const overlong = (extra === 2 && code < 0x800) || (extra === 3 && code < 0x10000);
      if (overlong || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return undefined;
    }
    if (code >= 0x10000) {
      units[count++] = 0xd800 + ((code - 0x10000) >> 10);
      code = 0xdc00 + ((code - 0x10000) & 0x3ff);
    }
    units[count++] = code;
    if (count >= UNITS_PER_CALL) {
      text += String.fromCharCode.apply(null, units.subarray(0, count) as unknown as number[]);
      count = 0;
    }
  }
  return text + String.fromCharCode.apply(null, units.subarray(0, count) as unknown as number[]);
}
