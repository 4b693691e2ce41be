// The wall without end: all 2³² seeds in rows, of which only those about the window are elements.

import { announce, button, byId, copy, el, icon } from "./dom.js";
import { Picture } from "./picture.js";
import { key, ofSeed } from "./points.js";
import { LARGEST } from "./seeds.js";

const BAND = 4000; // rows that the scroller holds at once: browsers can't scroll through 2³² of them
const MARGIN = 2; // rows kept ready above and below the window

export class Wall {
  #tiles = new Map(); // seed → tile, in order
  #columns = 1;
  #rowHeight = 1;
  #base = 0; // the row at the scroller's top
  #current = null; // the seed that the keyboard is at
  #at = -1; // what was last put into the address from here
  #look = "";
  #settling = 0;

  constructor(page) {
    this.page = page;
    this.scroller = byId("scroller");
    this.sheet = byId("sheet");
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#measure()).observe(this.scroller);
    document.addEventListener("keydown", (event) => this.#key(event));
    this.sheet.addEventListener("click", (event) => this.#click(event));
    this.sheet.addEventListener("focusin", (event) => this.#focused(event.target.closest(".tile")));
    page.store.follow((state, before) => this.#follow(state, before));
    page.shelf.watch(() => this.#marks());
    page.watchLook(() => this.#measure());
  }

  get visible() {
    return this.page.store.state.view === "wall";
  }

  /** The seeds that are wholly or partly seen now, and how many stand in a row. */
  seen() {
    const first = this.#firstSeed();
    const rows = Math.max(1, Math.round(this.scroller.clientHeight / this.#rowHeight));
    const last = Math.min(LARGEST, first + rows * this.#columns - 1);
    return { first, last, columns: this.#columns };
  }

  get current() {
    return this.#current ?? this.seen().first;
  }

  #follow(state, before) {
    if (state.view !== "wall") return;
    const arrives = before.view !== "wall";
    if (arrives) this.#measure();
    if (state.at !== this.#at) this.jump(state.at, { quietly: true });
    const look = key(ofSeed(0, state)) + state.model;
    if (look !== this.#look) {
      this.#look = look;
      clearTimeout(this.#settling);
      this.#settling = setTimeout(() => this.#draw(), 90); // while a slider is dragged not every step is drawn
    }
    if (arrives || state.a !== before.a || state.b !== before.b) this.#marks();
  }

  /** Bring a seed's row to the top. */
  jump(seed, { quietly = false } = {}) {
    if (!this.#measured()) return;
    const row = Math.floor(seed / this.#columns);
    const most = Math.max(0, this.#rows() - BAND);
    this.#base = Math.min(most, Math.max(0, row - BAND / 2));
    this.#space();
    this.scroller.scrollTop = (row - this.#base) * this.#rowHeight;
    this.#at = seed;
    this.#current = seed;
    this.#render();
    if (!quietly) announce(`Seeds ${seed} to ${this.seen().last}`);
  }

  #rows() {
    return Math.ceil((LARGEST + 1) / this.#columns);
  }

  #measured() {
    return this.scroller.clientWidth > 0;
  }

  #measure() {
    if (!this.visible || !this.#measured()) return;
    const seed = this.#at < 0 ? this.page.store.state.at : this.#at;
    const style = getComputedStyle(this.scroller);
    const room = this.scroller.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    const gap = parseFloat(getComputedStyle(this.sheet).columnGap);
    const wanted = this.page.look.size * 64; // small pictures are shown at 2 or 3 times their size, others at the same
    // Smooth faces may grow or shrink a little to fill the width; sharp ones keep to whole multiples of their pixels.
    const whole = this.page.look.pixels === "sharp" && room > 560;
    const fit = (room + gap) / (wanted + gap);
    this.#columns = Math.max(2, whole ? Math.floor(fit) : Math.round(fit));
    const side = whole ? wanted : Math.floor((room - gap * (this.#columns - 1)) / this.#columns);
    this.sheet.style.setProperty("--columns", this.#columns);
    this.sheet.style.setProperty("--side", `${side}px`);
    const caption = parseFloat(style.getPropertyValue("--caption"));
    this.#rowHeight = side + caption + parseFloat(style.getPropertyValue("--row-gap"));
    this.sheet.style.setProperty("--row", `${this.#rowHeight}px`);
    this.jump(seed, { quietly: true });
  }

  #space() {
    const rows = Math.min(BAND, this.#rows() - this.#base);
    byId("space").style.height = `${rows * this.#rowHeight}px`;
  }

  #scrolled() {
    if (!this.visible || !this.#measured()) return;
    const row = this.scroller.scrollTop / this.#rowHeight;
    const nearEnd = row > BAND - 300 && this.#base + BAND < this.#rows();
    if (nearEnd || (row < 300 && this.#base > 0)) {
      const base = Math.max(0, Math.min(this.#rows() - BAND, Math.floor(this.#base + row - BAND / 2)));
      const moved = base - this.#base;
      this.#base = base;
      this.#space();
      this.scroller.scrollTop -= moved * this.#rowHeight;
    }
    const first = this.#firstSeed();
    // A jump's own scrolling doesn't round its seed down to the row's first one.
    if (Math.floor(this.#at / this.#columns) !== Math.floor(first / this.#columns)) this.#at = first;
    this.#render();
    if (this.page.store.state.at !== this.#at) this.page.store.set({ at: this.#at });
  }

  #firstSeed() {
    return (this.#base + Math.round(this.scroller.scrollTop / this.#rowHeight)) * this.#columns;
  }

  /** Make the elements those of the window, in order. */
  #render() {
    const above = Math.floor(this.scroller.scrollTop / this.#rowHeight);
    const top = Math.max(0, above - MARGIN);
    const rows = Math.ceil(this.scroller.clientHeight / this.#rowHeight) + 2 * MARGIN + 1;
    const first = (this.#base + top) * this.#columns;
    const last = Math.min(LARGEST, first + rows * this.#columns - 1);
    const focused = document.activeElement?.closest?.(".tile");
    for (const [seed, tile] of this.#tiles) {
      if (seed >= first && seed <= last) continue;
      if (tile.item === focused) this.scroller.focus({ preventScroll: true });
      tile.picture.clear();
      tile.item.remove();
      this.#tiles.delete(seed);
    }
    this.sheet.style.transform = `translateY(${top * this.#rowHeight}px)`;
    // Faces in the window are asked for before those around it.
    const inside = (this.#base + above) * this.#columns;
    const fresh = [];
    let before = this.sheet.firstElementChild;
    for (let seed = first; seed <= last; seed++) {
      let tile = this.#tiles.get(seed);
      if (!tile) {
        tile = this.#tile(seed);
        this.#tiles.set(seed, tile);
        this.sheet.insertBefore(tile.item, before);
        fresh.push(seed);
      } else before = tile.item.nextElementSibling;
    }
    fresh.sort((a, b) => (a < inside) - (b < inside));
    for (const seed of fresh) this.#tiles.get(seed).picture.show(ofSeed(seed, this.page.store.state));
    this.#stops();
  }

  #draw() {
    this.#marks(); // what is kept is a seed with its labels, ψ and model
    for (const [seed, tile] of this.#tiles) tile.picture.show(ofSeed(seed, this.page.store.state));
  }

  #tile(seed) {
    const picture = new Picture(this.page);
    const face = el("button", { type: "button", class: "face", tabIndex: -1 }, picture.box, el("span", { class: "mark", "aria-hidden": "true" }));
    const caption = el(
      "div",
      { class: "caption" },
      el("button", { type: "button", class: "seed", tabIndex: -1, title: "Copy this seed", "aria-label": `Copy seed ${seed}` }, String(seed)),
      button(`Keep seed ${seed}`, null, { icon: "heart", bare: true, class: "mini keep", tabIndex: -1 }),
      button(`Pin seed ${seed}`, null, { icon: "pin", bare: true, class: "mini pin", tabIndex: -1 }),
    );
    const item = el("li", { class: "tile" }, face, caption);
    item.dataset.seed = seed;
    const tile = { item, face, picture };
    this.#mark(seed, tile);
    return tile;
  }

  #marks() {
    for (const [seed, tile] of this.#tiles) this.#mark(seed, tile);
  }

  #mark(seed, { item }) {
    const { a, b } = this.page.store.state;
    item.dataset.pin = seed === a ? "A" : seed === b ? "B" : "";
    item.querySelector(".mark").textContent = item.dataset.pin;
    item.querySelector(".pin").setAttribute("aria-pressed", String(Boolean(item.dataset.pin)));
    item.querySelector(".keep").setAttribute("aria-pressed", String(this.page.shelf.has(ofSeed(seed, this.page.store.state))));
  }

  #click(event) {
    const tile = event.target.closest(".tile");
    const hit = event.target.closest("button");
    if (!tile || !hit) return;
    const seed = Number(tile.dataset.seed);
    if (hit.classList.contains("seed")) copy(String(seed), `Seed ${seed}`);
    else if (hit.classList.contains("pin")) this.page.pins.toggle(seed);
    else if (hit.classList.contains("keep")) this.page.shelf.toggle(ofSeed(seed, this.page.store.state));
    else this.page.explore(seed);
  }

  #focused(tile) {
    if (!tile) return;
    this.#current = Number(tile.dataset.seed);
    this.#stops();
  }

  /** The keyboard stops at one tile of all: the tab key doesn't have to pass 2³² of them. */
  #stops() {
    const { first, last } = this.seen();
    const stop = this.#current !== null && this.#tiles.has(this.#current) ? this.#current : Math.min(last, Math.max(first, 0));
    for (const [seed, { item }] of this.#tiles) {
      for (const each of item.querySelectorAll("button")) each.tabIndex = seed === stop ? 0 : -1;
    }
  }

  #key(event) {
    if (!this.visible || event.altKey || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
    const target = event.target;
    const face = target.closest?.(".face");
    const nowhere = target === document.body || target === this.scroller || target === byId("stage");
    if (!face && !nowhere && !target.closest?.(".tile")) return;
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.#rowHeight)) * this.#columns;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.#columns, ArrowDown: this.#columns, PageUp: -page, PageDown: page };
    const acts = { c: () => copy(String(this.current), `Seed ${this.current}`), f: () => this.page.shelf.toggle(ofSeed(this.current, this.page.store.state)), r: () => this.page.dice() };
    if (event.key in steps) this.#to(Math.min(LARGEST, Math.max(0, this.current + steps[event.key])));
    else if (event.key === "Home") this.#to(0);
    else if (event.key === "End") this.#to(LARGEST);
    else if (event.key === "Enter" && (face || nowhere)) this.page.pins.toggle(this.current);
    else if (event.key === " " && nowhere) this.page.explore(this.current); // a face's button does so by itself
    else if (event.key in acts) acts[event.key]();
    else return;
    event.preventDefault();
  }

  /** Bring the keyboard to a seed, and the window with it. */
  #to(seed) {
    const top = (Math.floor(seed / this.#columns) - this.#base) * this.#rowHeight;
    const room = this.scroller.clientHeight;
    if (top < -room * 3 || top > this.scroller.scrollTop + room * 3 || top < this.scroller.scrollTop - room * 3) {
      this.jump(seed);
      this.page.store.set({ at: seed });
    } else if (top < this.scroller.scrollTop) this.scroller.scrollTop = top;
    else if (top + this.#rowHeight > this.scroller.scrollTop + room) this.scroller.scrollTop = top + this.#rowHeight - room;
    this.#scrolled();
    this.#current = seed;
    this.#stops();
    this.#tiles.get(seed)?.face.focus({ preventScroll: true });
  }
}
