// The engine's worker: it holds the runtime and the models, so that the page's own thread stays free.
// A message is {id, kind, …}; its answer {id, made} or {id, failed: {message, status}}. Progress comes as {progress},
// which is null once a load is over.

import { EngineError } from "../engine-error.js";
import { LocalModel } from "./model.js";
import { png } from "./png.js";
import { hasGpu, openRuntime } from "./runtime.js";
import { formats, save } from "./saving.js";

const SLICE = 8; // images of a save that are drawn before others get their turn

const models = new Map(); // by name, the promise of each
const stopped = new Set(); // ids of saves that nobody waits for any more
let site, base, runtime;
let last = Promise.resolve();

/** A session runs one call at a time: what is asked for waits for what was asked for before it. */
function inTurn(work) {
  last = last.then(work, work);
  return last;
}

const kinds = {
  async open({ config, address, force }) {
    [site, base] = [config, address];
    const [{ name }] = site.models;
    const gpu = force !== "wasm" && site.runtime.webgpu && (await hasGpu(force === "webgpu"));
    try {
      await start(gpu ? "webgpu" : "wasm", name);
    } catch (error) {
      if (!gpu || force === "webgpu") throw error;
      console.warn(`WebGPU is left out: ${error.message}`);
      await start("wasm", name);
    }
    return { where: runtime.where, threads: runtime.threads, formats: await formats() };
  },

  async draw({ model, points }) {
    const local = await opened(model);
    const asked = points.map((point) => attempt(() => local.place(point)));
    const right = asked.filter(({ made }) => made);
    const pictures = await inTurn(() => local.draw(right.map(({ made }) => made)));
    const ms = local.milliseconds;
    const files = new Map(await Promise.all(pictures.map(async (picture, k) => [right[k], await png(picture)])));
    return { ms, images: asked.map((one) => ({ file: files.get(one), failed: one.failed })) };
  },

  async save({ id, model, job }) {
    const local = await opened(model);
    const draw = async (places) => {
      const pictures = [];
      for (let start = 0; start < places.length; start += SLICE) {
        if (stopped.delete(id)) throw new EngineError("stopped");
        pictures.push(...(await inTurn(() => local.draw(places.slice(start, start + SLICE)))));
      }
      return pictures;
    };
    return save(site, local.facts, job, draw);
  },
};

async function start(kind, name) {
  models.clear();
  runtime = await openRuntime(site.runtime, base, kind, tell);
  await opened(name);
}

/** The model of a name, which is loaded at its first use; a failed load is tried again at the next. */
function opened(name) {
  if (!models.has(name)) {
    const facts = site.models.find((model) => model.name === name);
    const loading = loaded(new LocalModel(facts));
    loading.catch(() => models.delete(name)).finally(() => tell(null));
    models.set(name, loading);
  }
  return models.get(name);
}

/** Its file may be long on its way: meanwhile other models draw. */
async function loaded(model) {
  const parts = await model.fetch(base, tell);
  return inTurn(() => model.start(runtime, parts));
}

/** What was made, or why not: a point that is wrong leaves the others of its call alone. */
function attempt(make) {
  try {
    return { made: make() };
  } catch (error) {
    return { failed: inWords(error) };
  }
}

function inWords(error) {
  if (error instanceof EngineError) return { message: error.message, status: error.status };
  console.error(error);
  return { message: error.message, status: 500 };
}

function tell(progress) {
  self.postMessage({ progress });
}

self.addEventListener("message", async ({ data }) => {
  const { id, kind } = data;
  if (kind === "stop") {
    stopped.add(id);
    return;
  }
  try {
    self.postMessage({ id, made: await kinds[kind](data) });
  } catch (error) {
    self.postMessage({ id, failed: inWords(error) });
  } finally {
    stopped.delete(id);
  }
});
