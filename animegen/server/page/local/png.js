// PNG, without loss. Not by a canvas: its pixels are blurred by browsers that hide who they run for, and alpha rounds.

import { ascii, plain } from "./bytes.js";

const COLOURS = { 1: 0, 3: 2, 4: 6 }; // the format's number for grey, RGB, RGBA
const UP = 2; // the row filter that subtracts the pixel above: enlarged pixels become rows of zeros

/**
 * The file of a picture.
 *
 * @param {object} picture as in pixels.js
 * @param {object} [metadata] what the file says of itself, which `animegen info` reads
 * @returns {Promise<Blob>}
 */
export async function png({ width, height, channels, data }, metadata) {
  const row = width * channels;
  const filtered = new Uint8Array((row + 1) * height);
  for (let y = 0; y < height; y++) {
    const to = y * (row + 1);
    filtered[to] = UP;
    for (let x = 0; x < row; x++) {
      filtered[to + 1 + x] = data[y * row + x] - (y ? data[(y - 1) * row + x] : 0);
    }
  }
  const head = new Uint8Array(13);
  new DataView(head.buffer).setUint32(0, width);
  new DataView(head.buffer).setUint32(4, height);
  head.set([8, COLOURS[channels]], 8);
  const parts = [Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a), chunk("IHDR", head)];
  if (metadata) parts.push(chunk("tEXt", ascii(`animegen\0${plain(metadata)}`)));
  parts.push(chunk("IDAT", await deflated(filtered)), chunk("IEND", new Uint8Array()));
  return new Blob(parts, { type: "image/png" });
}

async function deflated(data) {
  const stream = new Blob([data]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function chunk(name, data) {
  const whole = new Uint8Array(12 + data.length);
  const view = new DataView(whole.buffer);
  view.setUint32(0, data.length);
  whole.set(ascii(name), 4);
  whole.set(data, 8);
  view.setUint32(8 + data.length, crc(whole.subarray(4, 8 + data.length)));
  return whole;
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function crc(data) {
  let value = 0xffffffff;
  for (const byte of data) value = TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}
