// One face in its box. The box is there before the face is, so nothing jumps when it comes.

import { el } from "./dom.js";
import { describe, key } from "./points.js";

export class Picture {
  #asked = null;
  #shown = "";

  /** @param page what all rooms share: draw, model(), word() */
  constructor(page, { urgent = false, tag = "span" } = {}) {
    this.page = page;
    this.urgent = urgent;
    this.image = el("img", { alt: "", draggable: false });
    this.box = el(tag, { class: "picture" }, this.image);
  }

  /** Show a point's face; the one before stays until it is there. Resolves to whether it was shown. */
  async show(point) {
    const model = this.page.model();
    const name = `${model.name}&${key(point)}`;
    if (name === this.#shown && !this.#asked) return true;
    this.#asked?.abort();
    const asked = (this.#asked = new AbortController());
    this.box.classList.add("is-coming");
    if (!this.#shown) this.image.alt = describe(point, this.page.word());
    try {
      const url = await this.page.draw.face(model, point, { signal: asked.signal, urgent: this.urgent });
      const next = new Image();
      next.src = url;
      await next.decode().catch(() => {});
      if (asked.signal.aborted) return false;
      this.image.src = url;
      this.image.alt = describe(point, this.page.word());
      this.#shown = name;
      this.#settle("is-shown");
      return true;
    } catch (error) {
      if (asked.signal.aborted || error.name === "AbortError") return false;
      this.image.alt = `no ${this.page.word()}: ${error.message}`;
      this.box.title = error.message;
      this.#settle("is-broken");
      return false;
    }
  }

  /** Stop waiting, and be empty. */
  clear() {
    this.#asked?.abort();
    this.#asked = null;
    this.#shown = "";
    this.box.classList.remove("is-coming", "is-shown", "is-broken");
    this.image.removeAttribute("src");
    this.image.alt = "";
  }

  #settle(state) {
    this.#asked = null;
    this.box.classList.remove("is-coming", "is-shown", "is-broken");
    this.box.classList.add(state);
  }
}
