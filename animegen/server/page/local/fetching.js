// Large files of the site: fetched once with progress, and checked by the sha256 that the page was made with.

import { EngineError } from "../engine-error.js";

const AGAIN = "check the connection and load the page again";

/**
 * A file's bytes.
 *
 * @param {{path: string, bytes: number, sha256: string}} file as config.json lists it
 * @param {string} base the address of the site
 * @param {string} what its name for people
 * @param {(loaded: number) => void} progress
 */
export async function fetched({ path, bytes, sha256 }, base, what, progress = () => {}) {
  const answer = await fetch(new URL(path, base)).catch((cause) => {
    throw new EngineError(`${what} can't be fetched: ${AGAIN}`, { cause });
  });
  const { status } = answer;
  if (!answer.ok) throw new EngineError(`${what} can't be fetched (${status}): ${AGAIN}`, { status });
  const data = new Uint8Array(bytes);
  let loaded = 0;
  try {
    for (const reader = answer.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      if (loaded + value.length > bytes) throw changed(what);
      data.set(value, loaded);
      loaded += value.length;
      progress(loaded);
    }
  } catch (cause) {
    if (cause instanceof EngineError) throw cause;
    throw new EngineError(`${what} broke off after ${Math.floor((100 * loaded) / bytes)} %: ${AGAIN}`, { cause });
  }
  if (loaded !== bytes || !(await matches(data, sha256))) throw changed(what);
  return data;
}

/** Without a secure context there is no hash to be had, and no promise that the page itself is the right one. */
async function matches(data, sha256) {
  if (!globalThis.crypto?.subtle) return true;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") === sha256;
}

function changed(what) {
  const words = `${what} is not the file that this page was made with: load the page again, or build the site again`;
  return new EngineError(words, { status: 500 });
}
