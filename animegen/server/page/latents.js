// From seeds to latents, and the paths between latents: what animegen/latents.py does, to the same float32 values.
// A latent is a Float32Array [z_dim]; sums and angles are float64, as there.

const N = 624; // words of the Mersenne Twister's state
const M = 397;
const PARALLEL = 1e-6; // angle in radians below which sin(ω) has too few digits left to divide by

/** The stream of numpy.random.RandomState(seed), which numpy keeps frozen (NEP 19). */
export class Stream {
  #words = new Uint32Array(N);
  #place = N;
  #kept = null; // the polar method makes normal values in pairs

  /** @param {number} seed a whole number from 0 to 2³²−1 */
  constructor(seed) {
    // init_genrand of Matsumoto & Nishimura 2002.
    this.#words[0] = seed >>> 0;
    for (let k = 1; k < N; k++) {
      const before = this.#words[k - 1];
      this.#words[k] = Math.imul(1812433253, before ^ (before >>> 30)) + k;
    }
  }

  /** A uniform value in [0, 1) of 53 bits. */
  uniform() {
    const high = this.#next() >>> 5;
    const low = this.#next() >>> 6;
    return (high * 67108864 + low) / 9007199254740992;
  }

  /** A standard normal value, by Marsaglia's polar method. */
  normal() {
    if (this.#kept !== null) {
      const value = this.#kept;
      this.#kept = null;
      return value;
    }
    let x, y, square;
    do {
      x = 2 * this.uniform() - 1;
      y = 2 * this.uniform() - 1;
      square = x * x + y * y;
    } while (square >= 1 || square === 0);
    const factor = Math.sqrt((-2 * Math.log(square)) / square);
    this.#kept = factor * x;
    return factor * y;
  }

  #next() {
    if (this.#place === N) this.#turn();
    let word = this.#words[this.#place++];
    word ^= word >>> 11;
    word ^= (word << 7) & 0x9d2c5680;
    word ^= (word << 15) & 0xefc60000;
    return (word ^ (word >>> 18)) >>> 0;
  }

  #turn() {
    const words = this.#words;
    for (let k = 0; k < N; k++) {
      const both = (words[k] & 0x80000000) | (words[(k + 1) % N] & 0x7fffffff);
      words[k] = words[(k + M) % N] ^ (both >>> 1) ^ (both & 1 ? 0x9908b0df : 0);
    }
    this.#place = 0;
  }
}

/** The latent of a seed: Float32Array [zDim]. */
export function latent(seed, zDim) {
  const stream = new Stream(seed);
  return Float32Array.from({ length: zDim }, () => stream.normal());
}

/** A latent scaled towards the origin by ψ, from 0 to 1. */
export function truncate(z, truncation) {
  const share = Math.fround(truncation);
  return truncation === 1 ? z : z.map((value) => value * share);
}

/** The straight line from `a` to `b` at `t`. */
export function lerp(a, b, t) {
  return a.map((value, k) => (1 - t) * value + t * b[k]);
}

/** The great arc from `a` to `b` at `t` (Shoemake 1985), lengths blended linearly; see animegen/latents.py. */
export function slerp(a, b, t) {
  const lengthA = norm(a);
  const lengthB = norm(b);
  if (lengthA === 0 || lengthB === 0) return lerp(a, b, t);
  const unitA = Float64Array.from(a, (value) => value / lengthA);
  const unitB = Float64Array.from(b, (value) => value / lengthB);
  const apart = norm(unitA.map((value, k) => value - unitB[k]));
  const along = norm(unitA.map((value, k) => value + unitB[k]));
  const omega = 2 * Math.atan2(apart, along); // arccos(a·b) loses half of the digits where they are nearly parallel
  if (omega < PARALLEL || (Math.PI - omega < PARALLEL && a.length === 1)) return lerp(a, b, t);
  // The ends are the very latents that were given.
  if (t === 0) return a;
  if (t === 1) return b;
  const length = (1 - t) * lengthA + t * lengthB;
  if (Math.PI - omega < PARALLEL) {
    const side = sideways(unitA);
    const [along, across] = [Math.cos(Math.PI * t), Math.sin(Math.PI * t)];
    return a.map((_, k) => length * (along * unitA[k] + across * side[k]));
  }
  const [shareA, shareB, whole] = [Math.sin((1 - t) * omega), Math.sin(t * omega), Math.sin(omega)];
  return a.map((_, k) => length * ((shareA * unitA[k] + shareB * unitB[k]) / whole));
}

/** `steps` latents from `a` to `b`, both ends included; `mode` is slerp or lerp. */
export function interpolate(a, b, steps, mode = "slerp") {
  const between = mode === "lerp" ? lerp : slerp;
  return steady(steps).map((t) => between(a, b, t));
}

/** `steps` values from 0 to 1, as numpy.linspace gives them. */
export function steady(steps) {
  const step = 1 / (steps - 1);
  return Array.from({ length: steps }, (_, k) => (k === steps - 1 ? 1 : k * step));
}

/** A path and its way back without the ends. */
export function thereAndBack(path) {
  return [...path, ...path.slice(1, -1).reverse()];
}

/** `frames` latents on a closed Catmull-Rom spline through `stops` and back to the first; see animegen/latents.py. */
export function loop(stops, frames) {
  const n = stops.length;
  const lengths = stops.map(norm);
  return Array.from({ length: frames }, (_, frame) => {
    const [here, t] = place(frame, n, frames);
    const around = [here + n - 1, here, here + 1, here + 2].map((stop) => stop % n);
    const t2 = t * t;
    const t3 = t * t * t;
    const weights = [-t3 + 2 * t2 - t, 3 * t3 - 5 * t2 + 2, -3 * t3 + 4 * t2 + t, t3 - t2].map((weight) => weight / 2);
    const mixed = (values) => weights.reduce((sum, weight, k) => sum + weight * values(around[k]), 0);
    const path = Float64Array.from(stops[0], (_, z) => mixed((stop) => stops[stop][z]));
    const wanted = mixed((stop) => lengths[stop]);
    const actual = norm(path);
    return Float32Array.from(path, (value) => value * (actual > 0 ? wanted / actual : 1));
  });
}

/** Which stop a frame of a closed path lies behind, and how far on the way to the next, in [0, 1). */
export function place(frame, stops, frames) {
  const position = (frame * stops) / frames;
  const here = Math.floor(position);
  return [here, position - here];
}

function norm(values) {
  let sum = 0;
  for (const value of values) sum += value * value;
  return Math.sqrt(sum);
}

/** A unit vector that is perpendicular to `unit`, from the coordinate axis that is most so. */
function sideways(unit) {
  let axis = 0;
  unit.forEach((value, k) => {
    if (Math.abs(value) < Math.abs(unit[axis])) axis = k;
  });
  const side = unit.map((value, k) => (k === axis ? 1 : 0) - unit[axis] * value);
  const length = norm(side);
  return side.map((value) => value / length);
}
