// The directions along which the model itself can change a face: a slider for each, and a strip of the one that is held.

import { button, el } from "./dom.js";
import { ofState, short } from "./points.js";
import { Strip } from "./strips.js";

const AMOUNTS = [-3, -2, -1, 0, 1, 2, 3]; // in latent space; farther out the model knows little

export class Directions {
  #held = 0;
  #rows = [];
  #model = null;
  #waiting = 0;

  constructor(page) {
    this.page = page;
    this.title = el("h2", { id: "directions-title" }, "Directions");
    this.held = el("span", { class: "quiet", role: "status" });
    this.reset = button("Reset", () => page.store.go({ moves: {} }), { class: "row" });
    this.strip = new Strip(page, AMOUNTS.length, (place) => this.#move(this.#held, AMOUNTS[place]));
    this.list = el("div", { class: "sliders" });
    this.box = el("section", { class: "part", "aria-labelledby": "directions-title" }, el("div", { class: "part-head" }, this.title, this.held, this.reset), this.strip.box, this.list);
  }

  get current() {
    return this.#held;
  }

  show(state) {
    const model = this.page.model();
    if (this.#model !== model) this.#build(model);
    this.box.hidden = !model.directions;
    if (this.box.hidden) return;
    this.#rows.forEach(({ input, output, row }, direction) => {
      const amount = state.moves[direction] ?? 0;
      input.value = amount;
      output.textContent = signed(amount);
      row.classList.toggle("is-moved", amount !== 0);
      row.classList.toggle("is-held", direction === this.#held);
    });
    this.reset.disabled = !Object.values(state.moves).some(Boolean);
    const point = ofState(state);
    this.held.textContent = `number ${this.#held}`;
    this.strip.show(
      AMOUNTS.map((amount) => ({ ...point, moves: { ...point.moves, [this.#held]: amount } })),
      AMOUNTS.map(signed),
      AMOUNTS.indexOf(state.moves[this.#held] ?? 0),
    );
  }

  #build(model) {
    this.#model = model;
    this.#held = 0;
    this.#rows = Array.from({ length: model.directions ?? 0 }, (_, direction) => {
      const id = `direction-${direction}`;
      const output = el("output", { for: id, "aria-live": "off" }); // the slider says it itself
      const input = el("input", { type: "range", id, min: -3, max: 3, step: 0.1, value: 0, on: { input: () => this.#move(direction, Number(input.value)), focus: () => this.#hold(direction) } });
      const row = el("div", { class: "slider", on: { pointerenter: () => this.#soon(direction), pointerleave: () => clearTimeout(this.#waiting) } }, el("label", { for: id }, String(direction)), input, output);
      input.setAttribute("aria-label", `Direction ${direction}`);
      return { row, input, output };
    });
    this.list.replaceChildren(...this.#rows.map(({ row }) => row));
  }

  #soon(direction) {
    clearTimeout(this.#waiting);
    this.#waiting = setTimeout(() => this.#hold(direction), 180); // a pointer that only passes by holds nothing
  }

  #hold(direction) {
    clearTimeout(this.#waiting);
    if (this.#held === direction) return;
    this.#held = direction;
    this.show(this.page.store.state);
  }

  #move(direction, amount) {
    this.#held = direction;
    this.page.store.set({ moves: { ...this.page.store.state.moves, [direction]: amount } });
  }
}

const signed = (amount) => (amount > 0 ? `+${short(amount)}` : short(amount).replace("-", "−"));
