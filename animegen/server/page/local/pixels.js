// Pictures as plain pixels: {width, height, channels, data}, data a Uint8Array by rows, channels last (1, 3 or 4).

const GAP = 2; // pixels between the images of a grid, as animegen/images/stills.py has it
const CAPTION = 12; // height of a caption's strip
const DIGITS = [31599, 11415, 29671, 29647, 23497, 31183, 31215, 29257, 31727, 31695]; // 5 rows of 3 bits

/** Each pixel as a square of scale × scale. */
export function enlarge({ width, height, channels, data }, scale) {
  if (scale === 1) return { width, height, channels, data };
  const [wide, row] = [width * scale, width * scale * channels];
  const large = new Uint8Array(row * height * scale);
  for (let y = 0; y < height; y++) {
    const start = y * scale * row;
    for (let x = 0; x < wide; x++) {
      const from = (y * width + Math.floor(x / scale)) * channels;
      for (let c = 0; c < channels; c++) large[start + x * channels + c] = data[from + c];
    }
    for (let copy = 1; copy < scale; copy++) large.copyWithin(start + copy * row, start, start + row);
  }
  return { width: wide, height: height * scale, channels, data: large };
}

/**
 * Images of one size row by row as one picture, on white, with a small gap between them.
 *
 * Under each stands its caption, a number, if there are captions.
 */
export function grid(images, columns = Math.ceil(Math.sqrt(images.length)), captions = null) {
  const [{ width, height, channels }] = images;
  const across = Math.min(columns, images.length);
  const cell = height + (captions ? CAPTION : 0) + GAP;
  const rows = Math.ceil(images.length / across);
  const sheet = { width: across * (width + GAP) - GAP, height: rows * cell - GAP, channels };
  sheet.data = new Uint8Array(sheet.width * sheet.height * channels).fill(255);
  images.forEach((image, k) => {
    const left = (k % across) * (width + GAP);
    const top = Math.floor(k / across) * cell;
    for (let y = 0; y < height; y++) {
      const row = image.data.subarray(y * width * channels, (y + 1) * width * channels);
      sheet.data.set(row, ((top + y) * sheet.width + left) * channels);
    }
    if (captions) write(sheet, String(captions[k]), left, top + height + 3, width);
  });
  return sheet;
}

/** A number in black, in the middle of a place of that width; what is wider is cut off. */
function write({ width, channels, data }, text, left, top, place) {
  const start = Math.max(0, Math.floor((place - text.length * 4 + 1) / 2));
  [...text].forEach((digit, k) => {
    for (let bit = 0; bit < 15; bit++) {
      const x = start + k * 4 + (bit % 3);
      if (x >= place || !((DIGITS[digit] >> (14 - bit)) & 1)) continue;
      const at = ((top + Math.floor(bit / 3)) * width + left + x) * channels;
      data.fill(0, at, at + Math.min(channels, 3));
    }
  });
}

/** RGBA as a canvas takes it, on white: Uint8ClampedArray. */
export function opaque({ width, height, channels, data }) {
  const pixels = new Uint8ClampedArray(width * height * 4).fill(255);
  for (let k = 0; k < width * height; k++) {
    const alpha = channels === 4 ? data[k * 4 + 3] / 255 : 1;
    for (let c = 0; c < 3; c++) {
      pixels[k * 4 + c] = alpha * data[k * channels + (channels === 1 ? 0 : c)] + (1 - alpha) * 255;
    }
  }
  return pixels;
}

/** The picture on a canvas; `even` repeats its last row and column where a video wants even sides. */
export function onCanvas(picture, { even = false } = {}) {
  const { width, height } = picture;
  const wide = even ? width + (width % 2) : width;
  const tall = even ? height + (height % 2) : height;
  const canvas = new OffscreenCanvas(wide, tall);
  const context = canvas.getContext("2d", { alpha: false });
  const image = new ImageData(opaque(picture), width, height);
  if (wide > width || tall > height) context.putImageData(image, wide - width, tall - height);
  context.putImageData(image, 0, 0);
  return canvas;
}
