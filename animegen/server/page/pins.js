// A and B: the two seeds between which faces are morphed.

import { announce, button, byId, el } from "./dom.js";
import { Picture } from "./picture.js";
import { ofSeed } from "./points.js";

export class Pins {
  constructor(page) {
    this.page = page;
    this.box = byId("pins");
    this.cards = ["a", "b"].map((name) => this.#card(name));
    this.morph = button("Morph", () => page.store.go({ view: "morph", t: 0.5 }), { icon: "next", class: "row" });
    this.box.append(el("div", { class: "pair" }, ...this.cards.map((card) => card.box)), this.morph);
    page.store.follow((state) => this.#show(state));
  }

  /** Pin a seed: as A, then as B, then in B's place; a pinned one is let go. */
  toggle(seed) {
    const { a, b } = this.page.store.state;
    if (seed === a || seed === b) {
      this.page.store.set(seed === a ? { a: null } : { b: null });
      announce(`Seed ${seed} is let go`);
      return;
    }
    const name = a === null ? "a" : "b";
    this.page.store.set({ [name]: seed });
    announce(`Seed ${seed} is pinned as ${name.toUpperCase()}`);
  }

  #card(name) {
    const picture = new Picture(this.page);
    const letter = name.toUpperCase();
    const text = el("span", { class: "seed" });
    const open = button("", () => this.page.explore(this.page.store.state[name]), { class: "open" });
    open.append(picture.box, el("span", { class: "letter", "aria-hidden": "true" }, letter), text);
    const drop = button(`Let ${letter} go`, () => this.page.store.set({ [name]: null }), { icon: "close", bare: true, class: "mini" });
    const box = el("div", { class: `card ${name}` }, open, drop);
    return { box, picture, text, open, drop, name };
  }

  #show(state) {
    const any = state.a !== null || state.b !== null;
    this.box.hidden = !any || state.view === "morph" || state.view === "kiosk";
    if (this.box.hidden) return;
    for (const { picture, text, open, drop, name, box } of this.cards) {
      const seed = state[name];
      const empty = seed === null;
      box.classList.toggle("is-empty", empty);
      open.disabled = empty;
      drop.hidden = empty;
      text.textContent = empty ? "pin another" : seed;
      if (empty) picture.clear();
      else picture.show(ofSeed(seed, state));
    }
    this.morph.disabled = state.a === null || state.b === null;
  }
}
