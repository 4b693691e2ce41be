// The labels of a conditional model: those that a seed draws, and those that are asked for, as animegen/labels.py has
// them. A group is {name, classes, counts, unknown}; labels are a Float32Array [L], the classes of all groups one after another.

import { EngineError } from "./engine-error.js";
import { Stream, place } from "./latents.js";
import { UNKNOWN, sharesOf } from "./mixes.js";

/** The class of each group that a seed draws, as often as they were in training: a list of names, null if unknown. */
export function drawClasses(seed, zDim, groups) {
  if (!groups.length) return [];
  const stream = new Stream(seed);
  for (let k = 0; k < zDim; k++) stream.normal(); // the latent's
  return groups.map(({ classes, counts, unknown = 0 }) => {
    const all = counts.reduce((sum, count) => sum + count, unknown);
    const wanted = stream.uniform() * all;
    let sum = 0;
    return classes.find((_, k) => (sum += counts[k]) > wanted) ?? null;
  });
}

/** The labels of a seed, with what is asked for, {group: class or {class: share, …}}, in place of what it draws. */
export function labelsOf(seed, zDim, groups, asked = {}) {
  const unknown = Object.keys(asked).find((name) => !groups.some((group) => group.name === name));
  if (unknown !== undefined) throw wrong(`this model has no labels for ${unknown}`);
  const drawn = drawClasses(seed, zDim, groups);
  const known = groups.map((group, k) => asked[group.name] ?? drawn[k]);
  return Float32Array.from(
    groups.flatMap((group, k) => (known[k] === null ? group.classes.map(() => 0) : values(group, known[k]))),
  );
}

/** Labels blended in a straight line. */
export function blend(a, b, t) {
  return a.map((value, k) => (1 - t) * value + t * b[k]);
}

/** Labels of `frames` frames on a closed way through those of stops, beside the latents of latents.loop. */
export function blendedLoop(stops, frames) {
  return Array.from({ length: frames }, (_, frame) => {
    const [here, t] = place(frame, stops.length, frames);
    return blend(stops[here], stops[(here + 1) % stops.length], t * t * (3 - 2 * t));
  });
}

function values(group, label) {
  const shares = sharesOf(group, label);
  const found = group.classes.map(() => 0);
  if (label === UNKNOWN && !group.classes.includes(UNKNOWN)) return found;
  for (const [name, share] of shares) {
    const where = group.classes.indexOf(String(name));
    if (where < 0) throw wrong(`${group.name} has no ${name}: choose one of ${group.classes.join(", ")}`);
    if (!(share >= 0 && share < Infinity)) throw wrong(`the share of ${name} must be an ordinary number of 0 or more`);
    found[where] += Number(share);
  }
  const largest = Math.max(...found);
  if (!largest) throw wrong(`${group.name} is a mix that sums to 0: give one of its classes a share`);
  const scaled = found.map((value) => value / largest);
  const sum = scaled.reduce((total, value) => total + value, 0);
  return scaled.map((value) => value / sum);
}

function wrong(message) {
  return new EngineError(message, { status: 400 });
}
