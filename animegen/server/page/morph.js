// From A to B: a film of the way, a frame that is dragged along it, and the face where the frame is.

import { announce, button, byId, el, icon, latest, segments, stillness } from "./dom.js";
import { Picture } from "./picture.js";
import { between, key, ofSeed } from "./points.js";
import { randomSeed, readSeed } from "./seeds.js";

const FILM = 9; // faces of the film, ends included
const THERE = 4000; // milliseconds from A to B

export class Morph {
  #film = "";
  #frame = 0; // of the running animation
  #began = 0;

  constructor(page) {
    this.page = page;
    const { store } = page;
    this.face = new Picture(page, { urgent: true });
    this.draw = latest((t) => this.face.show(between(store.state, t)));
    this.ends = ["a", "b"].map((name) => this.#end(name));
    this.share = el("p", { class: "share", "aria-hidden": "true" });
    const middle = el("div", { class: "middle" }, this.face.box, this.share);
    this.films = Array.from({ length: FILM }, () => new Picture(page));
    this.slider = el("input", { type: "range", min: 0, max: 1, step: 0.01, "aria-label": "From A to B", on: { input: () => this.#drag() } });
    this.film = el("div", { class: "film" }, el("div", { class: "frames", "aria-hidden": "true" }, ...this.films.map((picture) => picture.box)), this.slider);
    this.play = button("Play", () => (this.#frame ? this.stop() : this.#start()), { icon: "play", class: "row strong play" });
    this.mode = segments("Way", "mode", [["slerp", "Arc"], ["lerp", "Line"]], store.state.mode, (mode) => store.set({ mode }));
    this.mode.title = "Arc (slerp) keeps to the usual length of latents; line (lerp) cuts across";
    this.reason = el("p", { class: "quiet still-note", hidden: true }, "Your system asks for less motion: drag the frame instead.");
    const bar = el(
      "div",
      { class: "bar" },
      this.play,
      this.mode,
      button("Swap", () => store.go({ a: store.state.b, b: store.state.a, t: 1 - store.state.t }), { icon: "swap", class: "row" }),
      button("Explore it", () => this.#explore(), { icon: "next", class: "row" }),
      button("Save", () => page.save.open(), { icon: "save", class: "row" }),
      this.reason,
    );
    byId("morph").append(el("h1", { id: "morph-title", class: "unseen" }, "Morph"), el("div", { class: "trio" }, this.ends[0].box, middle, this.ends[1].box), this.film, bar);
    stillness.watch(() => this.#still());
    this.#still();
    store.follow((state) => this.#show(state));
  }

  #end(name) {
    const { store } = this.page;
    const letter = name.toUpperCase();
    const picture = new Picture(this.page);
    const face = button("", () => this.page.explore(store.state[name]), { class: "face" });
    face.append(picture.box, el("span", { class: "letter", "aria-hidden": "true" }, letter));
    const take = () => {
      const seed = readSeed(input.value);
      if (seed === null) input.setCustomValidity("A seed is a whole number from 0 to 4294967295");
      else input.setCustomValidity("");
      if (input.reportValidity()) store.go({ [name]: seed });
    };
    const input = el("input", { class: "seed", inputMode: "numeric", "aria-label": `Seed of ${letter}`, maxLength: 14, on: { change: take, input: () => input.setCustomValidity("") } });
    const dice = button(`Another ${letter}`, () => store.go({ [name]: randomSeed() }), { icon: "dice", bare: true, class: "mini" });
    return { name, picture, input, box: el("div", { class: `end ${name}` }, face, el("div", { class: "caption" }, input, dice)) };
  }

  #show(state) {
    if (state.view !== "morph") return this.stop();
    for (const { name, picture, input } of this.ends) {
      picture.show(ofSeed(state[name], state));
      if (document.activeElement !== input) input.value = state[name];
    }
    for (const input of this.mode.querySelectorAll("input")) input.checked = input.value === state.mode;
    if (!this.#frame) this.#set(state.t);
    const film = key(between(state, 0)) + state.model;
    if (film === this.#film) return undefined;
    this.#film = film;
    this.films.forEach((picture, place) => picture.show(between(state, Math.round((place / (FILM - 1)) * 1000) / 1000)));
    return undefined;
  }

  /** Put the frame, the number and the face at a share of B. */
  #set(t) {
    this.slider.value = t;
    this.slider.setAttribute("aria-valuetext", `${Math.round(t * 100)} % of B`);
    byId("morph").style.setProperty("--t", t);
    this.share.textContent = `${Math.round(t * 100)} %`;
    this.draw(Number(t.toFixed(2)));
  }

  #drag() {
    this.stop();
    const t = Number(this.slider.value);
    this.#set(t);
    this.page.store.set({ t });
  }

  #start() {
    if (stillness.wanted()) return;
    this.#began = performance.now() - this.page.store.state.t * THERE;
    this.#label("Pause", "pause");
    this.#frame = requestAnimationFrame((now) => this.#step(now));
    announce("Playing there and back");
  }

  #step(now) {
    const place = Math.max(0, (now - this.#began) / THERE) % 2;
    const t = place < 1 ? place : 2 - place;
    this.#set(t);
    this.#frame = requestAnimationFrame((later) => this.#step(later));
  }

  stop() {
    if (!this.#frame) return;
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#label("Play", "play");
    this.page.store.set({ t: Number(Number(this.slider.value).toFixed(2)) });
  }

  #label(text, drawing) {
    this.play.replaceChildren(icon(drawing), text);
  }

  #still() {
    const still = stillness.wanted();
    if (still) this.stop();
    this.play.disabled = still;
    this.reason.hidden = !still;
  }

  #explore() {
    const { a, b, t, mode } = this.page.store.state;
    // On a line the face is none that a seed leads to by arcs: the nearer end is explored.
    if (t === 0 || t === 1 || mode === "lerp") this.page.explore(t < 0.5 ? a : b);
    else this.page.store.go({ view: "explore", seed: a, toward: [[b, t]], moves: {}, round: 0 });
  }
}
