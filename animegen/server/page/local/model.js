// A model in a session of ONNX Runtime Web: places of latents and labels in, pictures out, as in
// animegen/model/signature.py.

import { EngineError } from "../engine-error.js";
import { fetched } from "./fetching.js";
import { place } from "./point-law.js";

const ENDS = { "-1:1": [-1, 1], "0:1": [0, 1], "0:255": [0, 255] }; // black and white of a graph that gives floats
const FLOATS = { float32: Float32Array, float64: Float64Array };
const ARRAYS = { ...FLOATS, int64: BigInt64Array, int32: Int32Array, bool: Uint8Array };
const BATCH = 16; // images of one call
const APART = 8; // grey levels that a right picture's may differ from Python's: rounding makes 1, a faulty driver more

export class LocalModel {
  /** @param {object} facts of config.json's models */
  constructor(facts) {
    this.facts = facts;
    this.milliseconds = 0; // an image took in the last call
  }

  /** The bytes of its file and of the weights beside it. */
  async fetch(base, progress) {
    const { name, files } = this.facts;
    const total = files.reduce((sum, file) => sum + file.bytes, 0);
    let before = 0;
    const parts = [];
    for (const file of files) {
      const tell = (loaded) => progress({ what: name, model: name, loaded: before + loaded, total });
      parts.push({ path: file.name, data: await fetched(file, base, name, tell) });
      before += file.bytes;
    }
    return parts;
  }

  /** Make a session of what was fetched. On a graphics card it must draw its first image as Python drew it. */
  async start({ ort, where }, [{ data }, ...externalData]) {
    const { name, probe } = this.facts;
    this.ort = ort;
    try {
      const options = { executionProviders: [where], externalData, logSeverityLevel: 3 };
      this.session = await ort.InferenceSession.create(data, options);
    } catch (cause) {
      throw failed(`${name} can't be loaded here (${firstLine(cause)}): try another browser`, cause);
    }
    const [first] = await this.draw([this.place({ seed: 0 })]);
    const isOff = (value, k) => Math.abs(first.data[k * probe.step] - value) > APART;
    if (where === "webgpu" && probe.values.some(isOff)) {
      throw failed("the graphics card draws other pictures than the model's");
    }
    return this;
  }

  /** Where a point's picture is made from, if the graph can take that. */
  place(point) {
    const found = place(this.facts, point);
    const { labels } = this.facts.graph;
    if (labels) asTaken(labels, found.y);
    return found;
  }

  /** The pictures of places {z, y}: each as in pixels.js. */
  async draw(places) {
    const pictures = [];
    const { batch } = this.facts.graph;
    for (let start = 0; start < places.length; start += batch ?? BATCH) {
      const part = places.slice(start, start + (batch ?? BATCH));
      pictures.push(...(await this.#run(part, batch ?? part.length)));
    }
    return pictures;
  }

  async #run(places, size) {
    const { name, graph, image_shape: shape } = this.facts;
    const inputs = { [graph.input.name]: this.#tensor(graph.input, size, places.map(({ z }) => z)) };
    if (graph.labels) {
      const rows = places.map(({ y }) => asTaken(graph.labels, y));
      inputs[graph.labels.name] = this.#tensor(graph.labels, size, rows);
    }
    for (const constant of graph.constants) {
      const axes = constant.shape.map((axis) => axis ?? size);
      const count = axes.reduce((product, axis) => product * axis, 1);
      const value = constant.type === "int64" ? BigInt(Math.trunc(constant.value)) : constant.value;
      inputs[constant.name] = new this.ort.Tensor(constant.type, new ARRAYS[constant.type](count).fill(value), axes);
    }
    const began = performance.now();
    let values;
    try {
      const made = await this.session.run(inputs, [graph.output]);
      values = await made[graph.output].getData();
      made[graph.output].dispose();
    } catch (cause) {
      throw failed(`${name} failed to run here (${firstLine(cause)}): load the page again`, cause);
    }
    this.milliseconds = (performance.now() - began) / places.length;
    return places.map((_, k) => picture(values, k, shape, graph));
  }

  /** Rows as the graph takes them, padded with zeros to its batch. */
  #tensor({ type, shape }, size, rows) {
    const length = shape.reduce((product, axis) => product * axis, 1);
    const data = new ARRAYS[type](size * length);
    rows.forEach((row, k) => data.set(row, k * length));
    return new this.ort.Tensor(type, data, [size, ...shape]);
  }
}

/** One row of labels: as they are, or the number of the one class that is meant. */
function asTaken({ name, type, numbers }, y) {
  if (!numbers) return y;
  const found = y.indexOf(1);
  if (found < 0 || y.reduce((sum, value) => sum + value, 0) !== 1) {
    throw new EngineError(`${name} takes one class for each image, and no mixes`, { status: 400 });
  }
  return [type === "int64" ? BigInt(found) : found];
}

/** Picture k of a graph's output, in levels from 0 to 255, channels last. */
function picture(values, k, [channels, height, width], { layout, range }) {
  const pixels = height * width;
  const start = k * pixels * channels;
  const data = new Uint8Array(pixels * channels);
  for (let pixel = 0; pixel < pixels; pixel++) {
    for (let c = 0; c < channels; c++) {
      const at = layout === "nchw" ? c * pixels + pixel : pixel * channels + c;
      data[pixel * channels + c] = range ? level(values[start + at], ENDS[range]) : values[start + at];
    }
  }
  return { width, height, channels, data };
}

/** A float as a level: scaled, rounded half to even, clipped. */
function level(value, [low, high]) {
  const scaled = Math.fround(Math.fround(Math.fround(value) - low) * (255 / (high - low)));
  const near = Math.round(scaled);
  return Math.min(255, Math.max(0, near - scaled === 0.5 && near % 2 ? near - 1 : near));
}

function failed(message, cause) {
  return new EngineError(message, { status: 500, cause });
}

function firstLine(error) {
  return String(error?.message ?? error).split("\n")[0].slice(0, 200);
}
