// One face, and what lies about it: eight like it, its directions, its ψ.

import { announce, button, byId, copy, el } from "./dom.js";
import { Directions } from "./directions.js";
import { Picture } from "./picture.js";
import { MOST_TOWARD, isPlain, key, ofState } from "./points.js";
import { seedsOf } from "./seeds.js";
import { Strip } from "./strips.js";

const PSIS = [0, 0.2, 0.4, 0.6, 0.8, 0.9, 1];

export class Explore {
  #shown = "";

  constructor(page) {
    this.page = page;
    const { store } = page;
    this.face = new Picture(page, { urgent: true });
    this.title = el("h1", { id: "explore-title" });
    this.trail = el("ol", { class: "trail", "aria-label": "How it came to be" });
    this.keep = button("Keep", () => page.shelf.toggle(ofState(store.state)), { icon: "heart", class: "row keep" });
    this.pin = button("Pin", () => page.pins.toggle(store.state.seed), { icon: "pin", class: "row" });
    const acts = el(
      "div",
      { class: "acts" },
      this.keep,
      this.pin,
      button("Link", () => copy(store.link(), "Link"), { icon: "link", class: "row" }),
      button("Save", () => page.save.open(), { icon: "save", class: "row strong" }),
    );
    const copySeed = button("Copy the seed", () => copy(String(store.state.seed), `Seed ${store.state.seed}`), { icon: "copy", bare: true, class: "mini" });
    const portrait = el("figure", { class: "portrait" }, this.face.box, el("figcaption", {}, el("div", { class: "name" }, this.title, copySeed), this.trail, acts));

    this.near = el("input", { type: "range", id: "near", min: 0.05, max: 0.75, step: 0.01, on: { input: () => store.set({ near: Number(this.near.value) }) } });
    this.relatives = el("div", { class: "relatives" });
    this.kin = Array.from({ length: 9 }, (_, place) => this.#relative(place));
    this.limit = el("p", { class: "plain", hidden: true }, `${MOST_TOWARD} steps from its seed: as far as one line goes. Go back, or begin at another seed.`);
    const family = el(
      "section",
      { class: "part", "aria-labelledby": "kin-title" },
      el("div", { class: "part-head" }, el("h2", { id: "kin-title" }, "More like this"), button("Eight others", () => store.go({ round: store.state.round + 1 }), { icon: "dice", class: "row" })),
      this.relatives,
      this.limit,
      el("div", { class: "scale" }, el("label", { for: "near" }, "close"), this.near, el("span", { "aria-hidden": "true" }, "far")),
    );
    this.near.setAttribute("aria-label", "How far from it, from close to far");

    this.directions = new Directions(page);
    this.psis = new Strip(page, PSIS.length, (place) => store.set({ psi: PSIS[place] }));
    const psi = el("section", { class: "part", "aria-labelledby": "psi-title" }, el("div", { class: "part-head" }, el("h2", { id: "psi-title" }, "Variety", el("span", { class: "quiet" }, " ψ"))), this.psis.box);
    byId("explore").append(el("div", { class: "columns" }, portrait, el("div", { class: "parts" }, family, this.directions.box, psi)));
    store.follow((state) => this.#show(state));
    page.shelf.watch(() => this.#marks());
  }

  #relative(place) {
    const picture = new Picture(this.page);
    if (place === 4) {
      picture.box.classList.add("self");
      this.relatives.append(picture.box);
      return { picture };
    }
    const face = button("", () => this.#on(place), { class: "face" });
    face.append(picture.box);
    this.relatives.append(face);
    return { picture, face };
  }

  /** The eight seeds about the face: the same ones each time that it is seen. */
  #seeds(state) {
    return seedsOf(`${key({ ...ofState(state), truncation: 1, labels: {} })}#${state.round}`, 8);
  }

  #on(place) {
    const { store } = this.page;
    const seed = this.#seeds(store.state)[place > 4 ? place - 1 : place];
    store.go({ toward: [...store.state.toward, [seed, store.state.near]], round: 0 });
    announce(`Now ${store.state.toward.length} steps from seed ${store.state.seed}`);
    byId("stage").focus({ preventScroll: true });
  }

  #show(state) {
    if (state.view !== "explore" || state.seed === null) return;
    const point = ofState(state);
    const name = `${state.model}&${key(point)}&${state.near}&${state.round}`;
    this.near.value = state.near;
    this.directions.show(state);
    this.#marks();
    if (name === this.#shown) return;
    this.#shown = name;
    this.title.textContent = state.seed.toLocaleString("en");
    this.title.style.setProperty("--signs", this.title.textContent.length);
    this.#trail(state);
    this.face.show(point);
    this.psis.show(PSIS.map((psi) => ({ ...point, truncation: psi })), PSIS.map(String), PSIS.indexOf(state.psi));
    const full = state.toward.length >= MOST_TOWARD;
    this.limit.hidden = !full;
    const seeds = this.#seeds(state);
    this.kin.forEach(({ picture, face }, place) => {
      if (!face) return picture.show(point);
      face.disabled = full;
      const seed = seeds[place > 4 ? place - 1 : place];
      return full ? picture.clear() : picture.show({ ...point, toward: [...point.toward, [seed, state.near]] });
    });
    clearTimeout(this.seeing);
    this.seeing = setTimeout(() => this.page.shelf.seen(point), 800); // what is only passed by is no visit
  }

  #trail({ seed, toward, moves }) {
    const { store } = this.page;
    const moved = Object.values(moves).filter(Boolean).length;
    const steps = toward.map(([other, share], place) => ({ text: `${Math.round(share * 100)} % to ${other}`, go: () => store.go({ toward: toward.slice(0, place + 1), round: 0 }) }));
    const all = [{ text: `seed ${seed}`, go: () => store.go({ toward: [], moves: {}, round: 0 }) }, ...steps];
    const items = all.map(({ text, go }, place) => el("li", {}, button(text, go, { class: "link", disabled: place === all.length - 1 && !(place === 0 && moved) })));
    if (moved) items.push(el("li", {}, el("span", {}, moved === 1 ? "1 direction" : `${moved} directions`)));
    this.trail.replaceChildren(...(toward.length || moved ? items : [el("li", {}, el("span", {}, `one of 4,294,967,296 ${this.page.word()}s`))]));
  }

  #marks() {
    const { state } = this.page.store;
    if (state.view !== "explore") return;
    const kept = this.page.shelf.has(ofState(state));
    this.keep.setAttribute("aria-pressed", String(kept));
    this.keep.lastChild.textContent = kept ? "Kept" : "Keep";
    const pinned = state.seed === state.a ? "A" : state.seed === state.b ? "B" : "";
    this.pin.setAttribute("aria-pressed", String(Boolean(pinned)));
    this.pin.lastChild.textContent = pinned ? `Pinned ${pinned}` : "Pin";
    this.pin.disabled = !isPlain(ofState(state));
    this.pin.title = this.pin.disabled ? "Only a seed itself can be pinned" : "";
  }
}
