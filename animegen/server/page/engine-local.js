// The engine of the page without a server: models run in this browser, in local/worker.js.

import { EngineError } from "./engine-error.js";

const MOST = 8; // images of one call
const CALL = 50; // milliseconds that a call should take, so that what is urgent soon gets its turn

/**
 * Start the worker, the runtime and the first model.
 *
 * `progress` is called while a model or the runtime loads, and with null when that is over.
 * `?engine=wasm` or `?engine=webgpu` in the page's address overrules where models run.
 *
 * @param {object} config config.json
 * @param {{progress?: (state: {what: string, model?: string, loaded: number, total: number}) => void}} options
 */
export async function open(config, { progress = () => {} } = {}) {
  const engine = new LocalEngine(config, progress);
  await engine.start();
  return engine;
}

class LocalEngine {
  parallel = 2 * MOST; // a call is under way while the next one fills
  address = null;
  #worker = new Worker(new URL("./local/worker.js", import.meta.url), { type: "module" });
  #answers = new Map(); // by id, what waits for the worker
  #queue = []; // images that are asked for: {model, point, urgent, signal, done, fail}
  #drawing = false;
  #ids = 0;
  #ms = CALL / 2;

  constructor(config, progress) {
    this.config = config;
    this.models = config.models;
    this.limits = config.limits;
    this.progress = progress;
    this.#worker.addEventListener("message", ({ data }) => this.#answered(data));
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      const why = event.message || "it can't be loaded";
      const error = new EngineError(`the page's worker failed (${why}): load the page again`, { status: 500 });
      for (const { fail } of this.#answers.values()) fail(error);
      this.#answers.clear();
    });
  }

  async start() {
    const force = new URLSearchParams(location.search).get("engine");
    const message = { kind: "open", config: this.config, address: new URL(".", document.baseURI).href, force };
    const { where, threads, formats } = await this.#ask(message);
    this.where = where;
    this.formats = formats;
    const many = threads === 1 ? "1 thread" : `${threads} threads`;
    this.detail = where === "webgpu" ? "WebGPU" : `WebAssembly, ${many}`;
  }

  /** The image of a point: {url, ms}. `urgent` goes before the others that wait. */
  image(model, point, { signal, urgent = false } = {}) {
    return new Promise((done, fail) => {
      if (signal?.aborted) return fail(signal.reason);
      const asked = { model, point, urgent, signal, done, fail };
      signal?.addEventListener("abort", () => this.#forget(asked), { once: true });
      const first = this.#queue.findIndex((other) => !other.urgent);
      if (urgent && first >= 0) this.#queue.splice(first, 0, asked);
      else this.#queue.push(asked);
      queueMicrotask(() => this.#draw());
    });
  }

  /** The file of a job, as a Blob. */
  async save(model, job, { signal } = {}) {
    signal?.throwIfAborted();
    const id = ++this.#ids;
    const stop = () => {
      this.#worker.postMessage({ id, kind: "stop" });
      this.#answers.get(id)?.fail(signal.reason);
      this.#answers.delete(id);
    };
    signal?.addEventListener("abort", stop, { once: true });
    try {
      return await this.#ask({ id, kind: "save", model: model.name, job });
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  release(url) {
    URL.revokeObjectURL(url);
  }

  /** Send the worker as many images of one model as it makes in a moment, if it has none. */
  async #draw() {
    if (this.#drawing || !this.#queue.length) return;
    this.#drawing = true;
    const [{ model }] = this.#queue;
    const size = Math.max(1, Math.min(MOST, Math.floor(CALL / this.#ms)));
    const batch = this.#queue.filter((asked) => asked.model === model).slice(0, size);
    this.#queue = this.#queue.filter((asked) => !batch.includes(asked));
    try {
      const points = batch.map(({ point }) => point);
      const { ms, images } = await this.#ask({ kind: "draw", model: model.name, points });
      this.#ms = ms || this.#ms;
      batch.forEach(({ signal, done, fail }, k) => {
        const { file, failed } = images[k];
        if (signal?.aborted) fail(signal.reason);
        else if (failed) fail(inWords(failed));
        else done({ url: URL.createObjectURL(file), ms });
      });
    } catch (error) {
      for (const { fail } of batch) fail(error);
    }
    this.#drawing = false;
    this.#draw();
  }

  #forget(asked) {
    this.#queue = this.#queue.filter((other) => other !== asked);
    asked.fail(asked.signal.reason);
  }

  #ask(message) {
    const id = message.id ?? ++this.#ids;
    return new Promise((done, fail) => {
      this.#answers.set(id, { done, fail });
      this.#worker.postMessage({ ...message, id });
    });
  }

  #answered({ id, made, failed, progress }) {
    if (progress !== undefined) {
      this.progress(progress);
      return;
    }
    const waiting = this.#answers.get(id);
    this.#answers.delete(id);
    if (failed) waiting?.fail(inWords(failed));
    else waiting?.done(made);
  }
}

function inWords({ message, status }) {
  return new EngineError(message, { status });
}
