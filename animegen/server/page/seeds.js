// Seeds as people write them: numbers, and lists such as 0-31,77.

export const LARGEST = 2 ** 32 - 1;

export const isSeed = (value) => Number.isInteger(value) && value >= 0 && value <= LARGEST;

/** The seed that a text names, or null. Spaces and commas between digits are read over. */
export function readSeed(text) {
  const digits = String(text).replace(/[\s,_']/g, "");
  return /^\d{1,10}$/.test(digits) && isSeed(Number(digits)) ? Number(digits) : null;
}

/** The seeds of such as 0-31,77, in their order; an Error says what is wrong. */
export function readSeeds(text, most = 4096) {
  const seeds = [];
  for (const part of text.split(/[,\s]+/).filter(Boolean)) {
    const match = /^(\d{1,10})(?:-(\d{1,10}))?$/.exec(part);
    const first = match && Number(match[1]);
    const last = match && Number(match[2] ?? match[1]);
    if (!match || !isSeed(first) || !isSeed(last)) throw new Error(`“${part.slice(0, 24)}” is no seed: write such as 0-31,77`);
    if (last < first) throw new Error(`“${part}” must run upwards: write ${last}-${first}`);
    if (seeds.length + last - first >= most) throw new Error(`that is more than ${most.toLocaleString("en")} seeds: ask for fewer`);
    for (let seed = first; seed <= last; seed++) seeds.push(seed);
  }
  return seeds;
}

/** Seeds as readSeeds takes them: neighbours are joined. */
export function writeSeeds(seeds) {
  const parts = [];
  for (const seed of seeds) {
    const run = parts.at(-1);
    if (run && seed === run[1] + 1) run[1] = seed;
    else parts.push([seed, seed]);
  }
  return parts.map(([first, last]) => (first === last ? first : `${first}-${last}`)).join(",");
}

export function randomSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}

/** `count` seeds that a text stands for, the same ones each time: FNV-1a, stirred as MurmurHash3 ends. */
export function seedsOf(text, count) {
  return Array.from({ length: count }, (_, k) => {
    let hash = 0x811c9dc5;
    for (const letter of `${text}/${k}`) hash = Math.imul(hash ^ letter.codePointAt(0), 0x01000193);
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    return (hash ^ (hash >>> 16)) >>> 0;
  });
}
