// An MP4 of one H.264 track, encoded by the browser (WebCodecs) and laid out as ISO/IEC 14496-12 has it.

import { EngineError } from "../engine-error.js";
import { ascii, joined, plain } from "./bytes.js";
import { onCanvas } from "./pixels.js";

const LEVELS = [[3600, "1f"], [8192, "28"], [36864, "33"]]; // macroblocks of a frame: H.264's table A-1
const BITS = 0.3; // a pixel of a frame: enlarged pixels have sharp edges
const SECOND = 1e6; // of WebCodecs' clock

/** Whether this browser encodes H.264. */
export async function encodes() {
  return (await settings(256, 256, 24)) !== null;
}

/** The file of some frames, pictures as in pixels.js, all of one size. */
export async function mp4(frames, { fps, metadata }) {
  const [width, height] = [frames[0].width, frames[0].height].map((side) => side + (side % 2));
  const config = await settings(width, height, fps);
  if (config === null) {
    throw new EngineError("this browser encodes no MP4 of that size: take a smaller scale, or a GIF", { status: 413 });
  }
  const samples = [];
  let avcc, failed;
  const encoder = new VideoEncoder({
    output(chunk, { decoderConfig } = {}) {
      avcc ??= decoderConfig?.description;
      const data = new Uint8Array(chunk.byteLength);
      chunk.copyTo(data);
      samples.push({ data, key: chunk.type === "key" });
    },
    error: (error) => (failed = error),
  });
  encoder.configure(config);
  for (const [k, picture] of frames.entries()) {
    const timestamp = Math.round((k * SECOND) / fps);
    const frame = new VideoFrame(onCanvas(picture, { even: true }), { timestamp, duration: Math.round(SECOND / fps) });
    encoder.encode(frame, { keyFrame: k % 120 === 0 });
    frame.close();
    while (encoder.encodeQueueSize > 8 && !failed) await new Promise((done) => setTimeout(done, 1));
  }
  if (!failed) await encoder.flush().catch((error) => (failed = error));
  if (failed) {
    throw new EngineError(`this browser's video encoder failed (${failed.message}): take a GIF`, { status: 500 });
  }
  encoder.close();
  return new Blob(file(samples, new Uint8Array(avcc), { width, height, fps, metadata }), { type: "video/mp4" });
}

async function settings(width, height, fps) {
  const blocks = Math.ceil(width / 16) * Math.ceil(height / 16);
  const level = LEVELS.find(([most]) => blocks <= most)?.[1];
  if (!globalThis.VideoEncoder || !level) return null;
  const bitrate = Math.round(Math.max(5e5, width * height * fps * BITS));
  for (const profile of ["6400", "42e0"]) {
    const config = { codec: `avc1.${profile}${level}`, width, height, bitrate, framerate: fps, avc: { format: "avc" } };
    const { supported } = await VideoEncoder.isConfigSupported(config).catch(() => ({ supported: false }));
    if (supported) return config;
  }
  return null;
}

function file(samples, avcc, { width, height, fps, metadata }) {
  const tick = 1000; // of a frame, so that a rate may have three decimals
  const scale = Math.round(fps * tick);
  const duration = samples.length * tick;
  const head = box("ftyp", ascii("isom"), u32(512), ascii("isomiso2avc1mp41"));
  const matrix = [u32(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)];
  const entry = box(
    "avc1",
    [u32(0), u16(0, 1), u32(0, 0, 0, 0), u16(width, height), u32(0x480000, 0x480000, 0), u16(1)],
    [new Uint8Array(32), u16(24, 0xffff), box("avcC", avcc)],
  );
  const keys = samples.flatMap(({ key }, k) => (key ? [k + 1] : []));
  const table = (offset) =>
    box(
      "stbl",
      full("stsd", u32(1), entry),
      full("stts", u32(1, samples.length, tick)),
      full("stss", u32(keys.length, ...keys)),
      full("stsc", u32(1, 1, samples.length, 1)),
      full("stsz", u32(0, samples.length, ...samples.map(({ data }) => data.length))),
      full("stco", u32(1, offset)),
    );
  const links = box("dinf", full("dref", u32(1), box("url ", u32(1))));
  const media = (offset) =>
    box(
      "mdia",
      full("mdhd", u32(0, 0, scale, duration), u16(0x55c4, 0)),
      full("hdlr", u32(0), ascii("vide"), u32(0, 0, 0), [0]),
      box("minf", box("vmhd", u32(1), u16(0, 0, 0, 0)), links, table(offset)),
    );
  const track = (offset) =>
    box(
      "trak",
      box("tkhd", u32(3, 0, 0, 1, 0, duration, 0, 0), u16(0, 0, 0, 0), matrix, u32(width * 65536, height * 65536)),
      media(offset),
    );
  const movie = (offset) =>
    box(
      "moov",
      full("mvhd", u32(0, 0, scale, duration, 0x10000), u16(0x100, 0), u32(0, 0), matrix, u32(0, 0, 0, 0, 0, 0, 2)),
      track(offset),
      metadata ? comment(plain(metadata)) : [],
    );
  const data = samples.map((sample) => sample.data);
  const size = data.reduce((sum, part) => sum + part.length, 8);
  const offset = head.length + movie(0).length + 8;
  return [head, movie(offset), u32(size), ascii("mdat"), ...data];
}

/** The comment as iTunes writes it, which FFmpeg and players read. */
function comment(text) {
  const item = box("\u00a9cmt", box("data", u32(1, 0), ascii(text)));
  const kind = full("hdlr", u32(0), ascii("mdirappl"), u32(0, 0), [0]);
  return box("udta", full("meta", kind, box("ilst", item)));
}

function full(name, ...parts) {
  return box(name, u32(0), ...parts);
}

function box(name, ...parts) {
  const content = joined(parts.flat().map((part) => (typeof part === "number" ? [part] : part)));
  return joined([u32(content.length + 8), ascii(name), content]);
}

function u32(...numbers) {
  return Uint8Array.from(numbers.flatMap((n) => [n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255]));
}

function u16(...numbers) {
  return Uint8Array.from(numbers.flatMap((n) => [(n >>> 8) & 255, n & 255]));
}
