// One face, large, on a slow walk that ends where it began.

import { announce, button, byId, el, icon, latest, stillness } from "./dom.js";
import { Picture } from "./picture.js";
import { ofSeed } from "./points.js";
import { randomSeed } from "./seeds.js";

const STOPS = 6;
const LEG = 7000; // milliseconds from one stop to the next, of which it rests for a part
const REST = 0.2;
const SHARES = 60; // between two stops; the same ones each time, so that a browser keeps them

export const randomStops = () => Array.from({ length: STOPS }, randomSeed);

export class Kiosk {
  #frame = 0;
  #began = 0;
  #place = 0; // stops passed, with the share of the way to the next
  #idle = 0;
  #stops = "";

  constructor(page) {
    this.page = page;
    const { store } = page;
    this.face = new Picture(page, { urgent: true });
    this.glow = el("canvas", { class: "glow", width: 6, height: 6, "aria-hidden": "true" });
    this.draw = latest(async (point) => {
      if (!(await this.face.show(point))) return;
      const context = this.glow.getContext("2d"); // so few pixels, stretched, are a light in the room: no filter has to blur it
      context.imageSmoothingQuality = "high";
      context.drawImage(this.face.image, 0, 0, 6, 6);
    });
    this.name = el("p", { class: "seed", "aria-hidden": "true" });
    this.play = button("Pause", () => (this.#frame ? this.#pause() : this.#run()), { icon: "pause", bare: true, class: "icon" });
    this.box = byId("kiosk");
    const bar = el(
      "div",
      { class: "bar" },
      this.play,
      button("Next face", () => this.#next(), { icon: "next", bare: true, class: "icon" }),
      button("Another walk", () => store.go({ stops: randomStops() }), { icon: "dice", bare: true, class: "icon" }),
      button("Save the walk", () => page.save.open(), { icon: "save", bare: true, class: "icon" }),
      button("Full screen", () => this.#full(), { icon: "full", bare: true, class: "icon" }),
      button("Leave", () => this.leave(), { icon: "close", bare: true, class: "icon" }),
    );
    this.box.append(el("h1", { id: "kiosk-title", class: "unseen" }, "Kiosk"), this.glow, this.face.box, this.name, bar);
    for (const type of ["pointermove", "pointerdown", "keydown", "focusin"]) this.box.addEventListener(type, () => this.#awake());
    document.addEventListener("keydown", (event) => {
      if (store.state.view !== "kiosk" || document.querySelector("dialog[open]")) return;
      if (event.key === "Escape") this.leave();
      if (event.key === " " && event.target === document.body) this.play.click();
    });
    stillness.watch(() => this.#still());
    store.follow((state, before) => this.#show(state, before));
  }

  #show(state, before) {
    const inside = state.view === "kiosk";
    document.querySelector(".side").inert = inside;
    if (!inside) {
      this.#halt();
      return;
    }
    const stops = state.stops.join() + state.model + state.psi;
    if (before.view !== "kiosk") this.before = before.view;
    if (before.view === "kiosk" && stops === this.#stops) return;
    this.#stops = stops;
    this.#place = 0;
    this.#awake();
    this.#look();
    this.#still();
  }

  #still() {
    if (this.page.store.state.view !== "kiosk") return;
    this.play.hidden = stillness.wanted();
    if (stillness.wanted()) this.#pause();
    else this.#run();
  }

  #run() {
    if (this.#frame || stillness.wanted()) return;
    this.#began = performance.now() - this.#place * LEG;
    this.#label("Pause", "pause");
    this.#frame = requestAnimationFrame((now) => this.#step(now));
  }

  #step(now) {
    this.#place = Math.max(0, (now - this.#began) / LEG) % this.page.store.state.stops.length; // a frame may be older than the start
    this.#look();
    this.#frame = requestAnimationFrame((later) => this.#step(later));
  }

  /** Show the face of the present place: it leaves a stop slowly, and comes to the next one slowly. */
  #look() {
    const { state } = this.page.store;
    const stop = Math.floor(this.#place);
    const way = Math.max(0, (this.#place - stop - REST) / (1 - REST));
    const share = Math.round(way * way * (3 - 2 * way) * SHARES) / SHARES;
    const here = state.stops[stop];
    const there = state.stops[(stop + 1) % state.stops.length];
    this.name.textContent = share < 0.5 ? here : there;
    this.draw({ ...ofSeed(here, state), toward: share ? [[there, share]] : [] });
  }

  #next() {
    const { stops } = this.page.store.state;
    this.#place = (Math.floor(this.#place) + 1) % stops.length;
    this.#began = performance.now() - this.#place * LEG;
    this.#look();
    announce(`Seed ${stops[this.#place]}`);
  }

  #pause() {
    this.#halt();
    this.#label("Go on", "play");
  }

  #halt() {
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
  }

  #label(text, drawing) {
    this.play.replaceChildren(icon(drawing));
    this.play.setAttribute("aria-label", text);
    this.play.title = text;
  }

  #full() {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.documentElement.requestFullscreen?.().catch(() => {});
  }

  /** The controls are there while somebody moves. */
  #awake() {
    this.box.classList.remove("is-idle");
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.box.classList.add("is-idle"), 3500);
  }

  leave() {
    if (document.fullscreenElement) document.exitFullscreen();
    this.page.store.go({ view: this.before ?? "wall" });
  }
}
