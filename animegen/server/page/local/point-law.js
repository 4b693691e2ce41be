// A face is a point: a seed, brought towards other seeds and then moved along directions, as Generator.point has it.
// A point is {seed, toward: [[seed, share], …], mode, moves: {direction: length}, labels, truncation}, all but the seed
// optional; `mode` is slerp or lerp, between seeds.

import { EngineError } from "../engine-error.js";
import { blend, blendedLoop, labelsOf } from "../label-law.js";
import { interpolate, latent, lerp, loop, slerp, steady, thereAndBack, truncate } from "../latents.js";

const MOST_TOWARD = 32; // this and the next as in animegen/points.py
const FARTHEST = 1000;

/**
 * Where a point's image is made from: {z: Float32Array [z_dim], y: Float32Array [L]}.
 *
 * @param {{z_dim: number, labels: object[], vectors: number[][]}} model of config.json
 */
export function place({ z_dim: zDim, labels: groups, vectors = [] }, point) {
  const { seed, toward = [], mode = "slerp", moves = {}, labels = {}, truncation = 1 } = point;
  const way = mode === "lerp" ? lerp : slerp;
  const own = (one) => ({
    z: truncate(latent(checked(one), zDim), truncation),
    y: labelsOf(one, zDim, groups, labels ?? {}),
  });
  if (!(truncation >= 0 && truncation <= 1)) throw wrong(`truncation is ${truncation} and must be from 0 to 1`);
  const others = toward.length;
  if (others > MOST_TOWARD) throw wrong(`toward has ${others} seeds and must have at most ${MOST_TOWARD}`);
  let { z, y } = own(seed);
  for (const [other, share] of toward) {
    if (!(share >= 0 && share <= 1)) throw wrong(`the share of seed ${other} is ${share} and must be from 0 to 1`);
    const there = own(other);
    z = way(z, there.z, Number(share));
    y = blend(y, there.y, Number(share));
  }
  for (const [direction, amount] of Object.entries(moves ?? {})) {
    const vector = vectors[direction];
    if (!vector) throw wrong(`this model has no direction ${direction}`);
    const length = Math.fround(amount);
    if (!(Math.abs(length) <= FARTHEST)) {
      throw wrong(`the move along direction ${direction} is ${amount} and must be from -${FARTHEST} to ${FARTHEST}`);
    }
    z = z.map((value, k) => value + Math.fround(length * Math.fround(vector[k])));
  }
  return { z, y };
}

/** The places of `steps` images from one point to another. */
export function between(model, a, b, steps, mode = "slerp") {
  const [from, to] = [place(model, a), place(model, b)];
  const z = interpolate(from.z, to.z, steps, mode);
  return steady(steps).map((t, k) => ({ z: z[k], y: blend(from.y, to.y, t) }));
}

/** The places of the frames from one point to another and back. */
export function morph(model, a, b, steps, mode) {
  return thereAndBack(between(model, a, b, steps, mode));
}

/** The places of `frames` frames on a closed way through points. */
export function walk(model, points, frames) {
  if (points.length < 2) throw wrong(`a walk has ${points.length} stops and must have at least 2`);
  const stops = points.map((point) => place(model, point));
  const z = loop(stops.map((stop) => stop.z), frames);
  const y = blendedLoop(stops.map((stop) => stop.y), frames);
  return z.map((one, k) => ({ z: one, y: y[k] }));
}

function checked(seed) {
  if (!(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 32)) {
    throw wrong(`seed is ${seed} and must be a whole number from 0 to ${2 ** 32 - 1}`);
  }
  return seed;
}

function wrong(message) {
  return new EngineError(message, { status: 400 });
}
