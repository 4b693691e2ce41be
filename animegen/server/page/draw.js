// The one queue by which all faces of the page are made: a few at once, what is urgent first, and patient when the place
// where they are made is away or busy.

import { key } from "./points.js";

const KEPT = 900; // faces of 64 pixels that stay in memory: some 10 MB
const PATIENCE = [1, 2, 4, 8, 15, 30]; // seconds between tries while nobody answers

const isAway = (error) => [0, 502, 504].includes(error.status) && error.name === "EngineError";
const isBusy = (error) => error.status === 503 || error.status === 429;
const OVER = { 401: "token", 404: "changed" }; // what no patience mends: another token, other files of the models

export class Draw {
  #queue = [];
  #active = 0;
  #kept = new Map(); // in the order of use
  #tries = 0;
  #timer = 0;
  #held = false;

  /**
   * @param trouble shows {kind: "away" | "busy", seconds, again}, or {kind: "token" | "changed"}, which only a new page
   *   mends; and null when it is over
   */
  constructor(engine, { trouble = () => {}, drawn = () => {} } = {}) {
    this.engine = engine;
    this.trouble = trouble;
    this.drawn = drawn;
  }

  /** The address of a face's picture. It rejects with AbortError, or with what the engine refuses. */
  face(model, point, { signal, urgent = false } = {}) {
    const name = `${model.sha256 ?? model.name}&${key(point)}`;
    const known = this.#kept.get(name);
    if (known) {
      this.#kept.delete(name);
      this.#kept.set(name, known);
      return Promise.resolve(known);
    }
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const job = { name, model, point, signal, urgent, resolve, reject };
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
      if (this.#queue.length > 300) this.#queue = this.#queue.filter((each) => !each.signal?.aborted); // who has scrolled on
      if (urgent) this.#queue.unshift(job);
      else this.#queue.push(job);
      this.#pump();
    });
  }

  #pump() {
    // While a trouble isn't over, one face at a time tries the way.
    const most = this.#tries ? 1 : (this.engine.parallel ?? 4);
    while (!this.#held && this.#active < most && this.#queue.length) {
      const job = this.#queue.shift();
      if (!job.signal?.aborted) this.#make(job);
    }
  }

  async #make(job) {
    this.#active++;
    try {
      const { url, ms } = await this.engine.image(job.model, job.point, { signal: job.signal, urgent: job.urgent });
      job.resolve(this.#keep(job.name, url));
      if (this.#tries) this.trouble(null);
      this.#tries = 0;
      this.drawn(ms);
    } catch (error) {
      if (isAway(error) || isBusy(error)) {
        if (!job.signal?.aborted) this.#queue.unshift(job);
        this.#hold(error);
      } else {
        if (error.name === "EngineError") this.#refused(error);
        job.reject(error);
      }
    } finally {
      this.#active--;
      this.#pump();
    }
  }

  #hold(error) {
    if (this.#held) return; // the others that were under way have met the same
    const seconds = error.retryAfter ?? PATIENCE[Math.min(this.#tries, PATIENCE.length - 1)];
    this.#tries++;
    this.#held = true;
    this.#timer = setTimeout(() => this.again(), seconds * 1000);
    this.trouble({ kind: isBusy(error) ? "busy" : "away", seconds, again: () => this.again() });
  }

  /** Somebody answers, if only to refuse. */
  #refused({ status }) {
    if (status in OVER) this.trouble({ kind: OVER[status] });
    else if (this.#tries) this.trouble(null);
    this.#tries = 0;
  }

  /** Try at once. */
  again() {
    clearTimeout(this.#timer);
    this.#held = false;
    this.#pump();
  }

  #keep(name, url) {
    const known = this.#kept.get(name);
    if (known) {
      this.engine.release(url); // two have asked for the same at once
      return known;
    }
    this.#kept.set(name, url);
    while (this.#kept.size > KEPT) {
      const [oldest, address] = this.#kept.entries().next().value;
      this.#kept.delete(oldest);
      this.engine.release(address);
    }
    return url;
  }
}
