// WebP by the browser's own encoder, still or as an endless animation: its pictures in a container of our own.

import { ascii, joined } from "./bytes.js";
import { exif, jpegWith } from "./exif.js";
import { onCanvas } from "./pixels.js";

const QUALITY = 0.9; // as the command's animations
const MOVES = 0x02; // flags of a file
const HAS_EXIF = 0x08;

/** Whether this browser's canvas writes a kind of picture, such as image/webp; else it would write a PNG. */
export async function writes(type) {
  if (!globalThis.OffscreenCanvas) return false;
  const canvas = new OffscreenCanvas(1, 1);
  canvas.getContext("2d");
  return (await canvas.convertToBlob({ type })).type === type;
}

/** The file of a picture as the browser writes it: a WebP of quality 1 is without loss in most. */
export async function still(picture, type, metadata) {
  const file = await onCanvas(picture).convertToBlob({ type, quality: 1 });
  if (!metadata) return file;
  if (type === "image/jpeg") return jpegWith(file, metadata);
  return container(picture, 0, [bitstream(new Uint8Array(await file.arrayBuffer()))], metadata);
}

/** The file of some frames, pictures as in pixels.js, all of one size. */
export async function webp(frames, { fps, metadata }) {
  const parts = [chunk("ANIM", [255, 255, 255, 255, 0, 0])];
  const end = (k) => Math.floor((k * 1000) / fps + 0.5); // it counts thousandths
  const made = new Map(); // by frame: the same one may come again
  for (const [k, frame] of frames.entries()) {
    if (!made.has(frame)) made.set(frame, bitstream(await encoded(frame)));
    const head = [0, 0, 0, 0, 0, 0, ...size(frame), ...bytes(end(k + 1) - end(k), 3), 0x02];
    parts.push(chunk("ANMF", head, made.get(frame)));
  }
  return container(frames[0], MOVES, parts, metadata);
}

function container(picture, flags, parts, metadata) {
  const said = metadata ? [chunk("EXIF", [], exif(metadata))] : [];
  const head = chunk("VP8X", [flags | (metadata ? HAS_EXIF : 0), 0, 0, 0, ...size(picture)]);
  const whole = [head, ...parts, ...said];
  const length = whole.reduce((sum, part) => sum + part.length, 4);
  return new Blob([ascii("RIFF"), Uint8Array.from(bytes(length, 4)), ascii("WEBP"), ...whole], { type: "image/webp" });
}

function size({ width, height }) {
  return [...bytes(width - 1, 3), ...bytes(height - 1, 3)];
}

async function encoded(frame) {
  const file = await onCanvas(frame).convertToBlob({ type: "image/webp", quality: QUALITY });
  return new Uint8Array(await file.arrayBuffer());
}

/** The chunks of a still that hold its pixels. */
function bitstream(file) {
  const view = new DataView(file.buffer);
  const parts = [];
  for (let at = 12; at + 8 <= file.length; ) {
    const name = String.fromCharCode(...file.subarray(at, at + 4));
    const next = at + 8 + view.getUint32(at + 4, true) + (view.getUint32(at + 4, true) % 2);
    if (["ALPH", "VP8 ", "VP8L"].includes(name)) parts.push(file.subarray(at, next));
    at = next;
  }
  return joined(parts);
}

function chunk(name, head, data = []) {
  const length = head.length + data.length;
  return joined([ascii(name), bytes(length, 4), head, data, length % 2 ? [0] : []]);
}

function bytes(number, count) {
  return Array.from({ length: count }, (_, k) => Math.floor(number / 256 ** k) % 256);
}
