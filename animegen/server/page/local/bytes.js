// Bytes and texts, for what writes files.

/** The bytes of a text in ASCII. */
export function ascii(text) {
  return Uint8Array.from(text, (sign) => sign.charCodeAt(0));
}

/** JSON in ASCII, which every format holds. */
export function plain(metadata) {
  const escaped = (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return JSON.stringify(metadata).replace(/[\u0080-\uffff]/g, escaped);
}

/** Parts, each a Uint8Array or a list of bytes, as one. */
export function joined(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
