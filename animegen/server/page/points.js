// A face is a point: a seed, brought towards other seeds, moved along directions, with a ψ and labels.

import { isLabel, isMix, mixOf } from "./mixes.js";

export const MOST_TOWARD = 32; // as animegen/points.py has it

/** The point of a seed alone, with what holds for all of them. */
export function ofSeed(seed, { psi, labels }) {
  return { seed, toward: [], moves: {}, mode: "slerp", truncation: psi, labels };
}

/** The point that the explorer shows. */
export function ofState(state) {
  return { ...ofSeed(state.seed, state), toward: state.toward, moves: state.moves };
}

/** The point between A and B. */
export function between(state, t = state.t) {
  return { ...ofSeed(state.a, state), toward: [[state.b, t]], mode: state.mode };
}

export const isPlain = ({ toward, moves }) => !toward.length && !Object.values(moves).some(Boolean);

/** Numbers as short as they are exact enough: 0.25, −1.5, 3. */
export const short = (number) => String(Number(number.toFixed(4)));

/** The parts of a point as a query has them, in one order: [[name, value], …] without the seed. */
export function parts(point) {
  const found = [];
  for (const [seed, share] of point.toward) found.push(["toward", `${seed}:${short(share)}`]);
  if (point.toward.length && point.mode === "lerp") found.push(["mode", "lerp"]);
  for (const [direction, length] of Object.entries(point.moves)) if (length) found.push(["move", `${direction}:${short(length)}`]);
  return [...found, ...shared(point)];
}

/** What holds for all faces of a picture, as a query has it. */
export function shared({ truncation, labels }) {
  const found = truncation === 1 ? [] : [["truncation", short(truncation)]];
  for (const [group, label] of Object.entries(labels)) found.push(["label", `${group}=${label}`]);
  return found;
}

/** Labels in a model's order of groups, so that one face has one address; without those that it doesn't have. */
export function labelsFor(model, labels) {
  const has = (group) => isLabel(group, labels[group.name]);
  return Object.fromEntries((model.labels ?? []).filter(has).map(({ name }) => [name, labels[name]]));
}

/** A text that is the same for the same face, in whatever order its labels were chosen. */
export function key(point) {
  const labels = Object.fromEntries(Object.entries(point.labels).sort());
  return [["seed", point.seed], ...parts({ ...point, labels })].map((pair) => pair.join("=")).join("&");
}

/** What a point shows, for whoever doesn't see it. */
export function describe(point, word) {
  const steps = point.toward.map(([seed, share]) => `${Math.round(share * 100)} % towards ${seed}`);
  const moves = Object.entries(point.moves).filter(([, length]) => length);
  return [`${word} of seed ${point.seed}`, ...steps, ...moves.map(([direction, length]) => `direction ${direction} by ${short(length)}`)].join(", ");
}

/** A short name of it for a file. */
export function fileName(model, point) {
  const more = isPlain(point) ? "" : `-${point.toward.map(([seed]) => seed).join("-") || "moved"}`;
  return `${model.name}-${point.seed}${more.slice(0, 60)}`;
}

/** What labels add to a file's name, such as -hair-blue, as animegen/labels.py has it. */
export function labelSuffix(model, labels) {
  const texts = Object.entries(labels).map(([name, label]) => {
    const group = model.labels.find((each) => each.name === name);
    const mix = isMix(group, label) && Object.entries(mixOf(group, label)).map(([one, share]) => `${one}-${short(share)}`);
    return `-${name}-${mix ? mix.join("+") : label}`;
  });
  return texts.join("");
}
