// What a JPEG or WebP says of itself: a user comment in an EXIF block, as animegen/images/metadata.py writes it.

import { ascii, plain } from "./bytes.js";

const LARGEST = 65000; // bytes: a JPEG's segment has 65,533 for all of it

/** The EXIF block: a TIFF header, a first directory that names the EXIF directory, and that with the comment alone. */
export function exif(metadata) {
  const comment = ascii(`ASCII\0\0\0${plain(metadata)}`);
  const block = new Uint8Array(44 + comment.length);
  const view = new DataView(block.buffer);
  block.set(ascii("II*\0"));
  view.setUint32(4, 8, true);
  directory(view, 8, 0x8769, 4, 1, 26); // a LONG: where the EXIF directory is
  directory(view, 26, 0x9286, 7, comment.length, 44); // UNDEFINED: the user comment
  block.set(comment, 44);
  return block;
}

/** A directory of one entry. */
function directory(view, at, tag, type, count, value) {
  view.setUint16(at, 1, true);
  view.setUint16(at + 2, tag, true);
  view.setUint16(at + 4, type, true);
  view.setUint32(at + 6, count, true);
  view.setUint32(at + 10, value, true);
}

/** A JPEG with the metadata in a segment behind its first two bytes; without it where it is too long. */
export async function jpegWith(file, metadata) {
  const block = exif(metadata);
  if (block.length > LARGEST) return file;
  const length = block.length + 8;
  const head = Uint8Array.of(0xff, 0xe1, length >> 8, length & 255, ...ascii("Exif\0\0"));
  return new Blob([file.slice(0, 2), head, block, file.slice(2)], { type: file.type });
}
