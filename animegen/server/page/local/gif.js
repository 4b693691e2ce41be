// An endless GIF: 256 colours of each frame's own, found by median cut and a round of k-means, and LZW.

import { ascii, joined, plain } from "./bytes.js";
import { enlarge, opaque } from "./pixels.js";

const COLOURS = 256;
const ROUNDS = 1; // of k-means: a second takes a third of the time and is not seen

/**
 * The file of some frames, all of one size.
 *
 * @param {object[]} frames pictures as in pixels.js
 * @param {{fps: number, scale?: number, metadata?: object}} options `scale` makes each pixel a square
 */
export function gif(frames, { fps, scale = 1, metadata }) {
  const width = frames[0].width * scale;
  const height = frames[0].height * scale;
  const endless = [[0x21, 0xff, 11], ascii("NETSCAPE2.0"), [3, 1, 0, 0, 0]];
  const parts = [ascii("GIF89a"), words(width, height), [0, 0, 0], ...endless];
  if (metadata) parts.push([0x21, 0xfe], ...blocks(ascii(plain(metadata))));
  const end = (k) => Math.floor((k * 100) / fps + 0.5); // a GIF counts hundredths: the error of one frame is the next's
  const made = new Map(); // by frame: the same one may come again
  frames.forEach((frame, k) => {
    if (!made.has(frame)) made.set(frame, encoded(frame, scale));
    parts.push([0x21, 0xf9, 4, 0], words(end(k + 1) - end(k)), [0, 0]);
    parts.push([0x2c], words(0, 0, width, height), [0x87], ...made.get(frame));
  });
  parts.push([0x3b]);
  return new Blob([joined(parts)], { type: "image/gif" });
}

/** A frame's palette and its pixels, as the file has them. */
function encoded(frame, scale) {
  const { palette, indices } = quantized(frame);
  const small = { width: frame.width, height: frame.height, channels: 1, data: indices };
  return [palette, [8], ...blocks(packed(enlarge(small, scale).data))];
}

function words(...numbers) {
  return numbers.flatMap((number) => [number & 255, number >> 8]);
}

function blocks(data) {
  const parts = [];
  for (let start = 0; start < data.length; start += 255) {
    const part = data.subarray(start, start + 255);
    parts.push([part.length], part);
  }
  return [...parts, [0]];
}

/** A frame's palette, 3 bytes a colour, and the place of each pixel in it. */
export function quantized(picture) {
  const data = opaque(picture); // RGBA, on white
  const counts = new Map();
  const colours = new Uint32Array(data.length / 4);
  for (let k = 0; k < colours.length; k++) {
    colours[k] = (data[4 * k] << 16) | (data[4 * k + 1] << 8) | data[4 * k + 2];
    counts.set(colours[k], (counts.get(colours[k]) ?? 0) + 1);
  }
  const points = [...counts].map(([colour, count]) => [colour >> 16, (colour >> 8) & 255, colour & 255, count]);
  let centres = points.length <= COLOURS ? points : medianCut(points).map(mean);
  let nearest = points.map((_, k) => k);
  if (points.length > COLOURS) {
    for (let round = 0; round <= ROUNDS; round++) {
      nearest = closest(points, centres);
      if (round < ROUNDS) centres = moved(points, nearest, centres);
    }
  }
  const palette = new Uint8Array(3 * COLOURS);
  centres.forEach((centre, k) => palette.set(centre.slice(0, 3).map(Math.round), 3 * k));
  const places = new Map([...counts.keys()].map((colour, k) => [colour, nearest[k]]));
  return { palette, indices: Uint8Array.from(colours, (colour) => places.get(colour)) };
}

function moved(points, nearest, centres) {
  const groups = centres.map(() => []);
  points.forEach((point, k) => groups[nearest[k]].push(point));
  return groups.map((group, k) => (group.length ? mean(group) : centres[k]));
}

/** Boxes of colours, as many as a palette has: that with the largest spread of pixels is halved, again and again. */
function medianCut(points) {
  const boxes = [box([...points])];
  while (boxes.length < COLOURS) {
    let widest = 0;
    boxes.forEach((one, k) => {
      if (one.weight > boxes[widest].weight) widest = k;
    });
    const { points: inside, axis, pixels } = boxes[widest];
    inside.sort((a, b) => a[axis] - b[axis]);
    let [cut, sum] = [0, 0];
    while (cut < inside.length - 1 && (sum += inside[cut][3]) * 2 <= pixels) cut++;
    cut = Math.max(1, cut);
    boxes.splice(widest, 1, box(inside.slice(0, cut)), box(inside.slice(cut)));
  }
  return boxes.map((one) => one.points);
}

function box(points) {
  const spreads = [0, 1, 2].map((axis) => {
    let [low, high] = [255, 0];
    for (const point of points) {
      low = Math.min(low, point[axis]);
      high = Math.max(high, point[axis]);
    }
    return high - low;
  });
  const spread = Math.max(...spreads);
  const pixels = points.reduce((sum, point) => sum + point[3], 0);
  return { points, axis: spreads.indexOf(spread), pixels, weight: points.length > 1 ? spread * Math.sqrt(pixels) : 0 };
}

function mean(points) {
  const pixels = points.reduce((sum, point) => sum + point[3], 0);
  return [0, 1, 2].map((axis) => points.reduce((sum, point) => sum + point[axis] * point[3], 0) / pixels);
}

/** The place of the centre that is nearest to each of the points. */
function closest(points, centres) {
  const [reds, greens, blues] = [0, 1, 2].map((axis) => Float32Array.from(centres, (centre) => centre[axis]));
  return points.map(([red, green, blue]) => {
    let best = 0;
    let least = Infinity;
    for (let k = 0; k < reds.length; k++) {
      const r = red - reds[k];
      const g = green - greens[k];
      const b = blue - blues[k];
      const apart = r * r + g * g + b * b;
      if (apart < least) {
        least = apart;
        best = k;
      }
    }
    return best;
  });
}

/** LZW with codes of 9 to 12 bits (Welch 1984, as GIF has it: low bits first). */
export function packed(indices) {
  const bytes = [];
  let [buffer, held] = [0, 0];
  const put = (code, bits) => {
    buffer |= code << held;
    for (held += bits; held >= 8; held -= 8) {
      bytes.push(buffer & 255);
      buffer >>>= 8;
    }
  };
  const CLEAR = 256;
  const END = 257;
  const known = new Uint16Array(4096 * 256); // the code of a known code and one more index; 0 is none's
  let [next, bits] = [END + 1, 9];
  put(CLEAR, bits);
  let code = indices[0];
  for (let k = 1; k < indices.length; k++) {
    const longer = (code << 8) | indices[k];
    if (known[longer]) {
      code = known[longer];
      continue;
    }
    put(code, bits);
    if (next === 4096) {
      put(CLEAR, bits);
      known.fill(0);
      [next, bits] = [END + 1, 9];
    } else {
      if (next === 1 << bits) bits++;
      known[longer] = next++;
    }
    code = indices[k];
  }
  put(code, bits);
  if (next === 1 << bits && bits < 12) bits++;
  put(END, bits);
  if (held) bytes.push(buffer & 255);
  return Uint8Array.from(bytes);
}
