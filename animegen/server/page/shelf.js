// What was kept, over visits, and what was seen in this one. Both leave and come as a seeds list.

import { announce, button, byId, copy, download, el, segments, toast } from "./dom.js";
import { Picture } from "./picture.js";
import { describe, isPlain, key, labelsFor } from "./points.js";
import { readSeeds, writeSeeds } from "./seeds.js";
import { read, write } from "./state.js";

const STORED = "animegen.kept";
const MOST_SEEN = 200;
const isSeedAlone = (point) => isPlain(point) && point.truncation === 1 && !Object.keys(point.labels).length;

export class Shelf {
  #watchers = [];
  #seen = [];
  #kept = stored(); // model: points
  #names = {}; // of those of one model: the wall asks for each of its tiles

  constructor(page) {
    this.page = page;
    this.shown = "kept";
    byId("open-shelf").addEventListener("click", () => this.open());
    page.store.follow((state, before) => state.model !== before.model && this.#changed()); // each model has its own
    addEventListener("storage", (event) => {
      if (event.key !== STORED) return;
      this.#kept = stored(); // another tab kept something
      this.#changed();
    });
  }

  watch(watcher) {
    this.#watchers.push(watcher);
  }

  get kept() {
    return this.#kept[this.page.model().name] ?? [];
  }

  has(point) {
    const { kept } = this;
    if (this.#names.of !== kept) this.#names = { of: kept, all: new Set(kept.map(key)) };
    return this.#names.all.has(key(point));
  }

  toggle(point) {
    const name = key(point);
    const had = this.has(point);
    this.#keep(had ? this.kept.filter((each) => key(each) !== name) : [...this.kept, point]);
    announce(had ? `Seed ${point.seed} is off the shelf, ${this.kept.length} are on it` : `Seed ${point.seed} is kept, ${this.kept.length} are on the shelf`);
  }

  /** Note a face of this visit. */
  seen(point) {
    const [name, model] = [key(point), this.page.model().name];
    const others = this.#seen.filter((each) => each.model !== model || key(each) !== name);
    this.#seen = [{ ...point, model }, ...others].slice(0, MOST_SEEN);
    if (byId("shelf").open && this.shown === "seen") this.#fill();
  }

  #keep(points) {
    this.#kept = { ...this.#kept, [this.page.model().name]: points };
    try {
      localStorage.setItem(STORED, JSON.stringify(this.#kept));
    } catch {
      toast("The browser stores nothing here: take the list with you");
    }
    this.#changed();
  }

  #changed() {
    this.count();
    for (const watcher of this.#watchers) watcher();
    if (byId("shelf").open) this.#fill();
  }

  count() {
    const count = byId("shelf-count");
    count.textContent = this.kept.length;
    count.hidden = !this.kept.length;
    byId("open-shelf").setAttribute("aria-label", this.kept.length ? `Shelf, ${this.kept.length} kept` : "Shelf");
  }

  open() {
    const dialog = byId("shelf");
    this.list = el("ul", { class: "kept" });
    this.empty = el("p", { class: "plain" });
    this.text = el("textarea", { rows: 3, spellcheck: false, "aria-label": "Seeds list", placeholder: "0-31,77" });
    const file = el("input", { type: "file", accept: ".txt,text/plain", hidden: true, on: { change: async () => this.#add(await file.files[0].text()) } });
    dialog.replaceChildren(
      el("div", { class: "dialog-head" }, el("h2", { id: "shelf-title", tabIndex: -1 }, "Shelf"), button("Close", () => dialog.close(), { icon: "close", bare: true, class: "icon" })),
      segments("", "shelf", [["kept", "Kept"], ["seen", "Seen this visit"]], this.shown, (shown) => {
        this.shown = shown;
        this.#fill();
      }),
      el("div", { class: "dialog-body" }, this.empty, this.list),
      el(
        "div",
        { class: "dialog-foot" },
        el("h3", {}, "As a seeds list"),
        this.text,
        el(
          "div",
          { class: "bar" },
          button("Copy", () => copy(this.text.value, "Seeds list"), { icon: "copy", class: "row" }),
          button("Save", () => download(new Blob([`${this.text.value}\n`], { type: "text/plain" }), `${this.page.model().name}-${this.shown}.txt`), { icon: "save", class: "row" }),
          button("Add these", () => this.#add(this.text.value), { class: "row" }),
          button("Open a file", () => file.click(), { class: "row" }),
          file,
        ),
      ),
    );
    this.#fill();
    dialog.showModal();
    byId("shelf-title").focus();
  }

  #points() {
    return this.shown === "kept" ? this.kept : this.#seen.filter((each) => each.model === this.page.model().name);
  }

  #fill() {
    const points = this.#points();
    const word = this.page.word();
    this.empty.hidden = points.length > 0;
    this.empty.textContent = this.shown === "kept" ? `Nothing kept yet. Open ${/^[aeiou]/.test(word) ? "an" : "a"} ${word}: its heart puts it here.` : `Each ${word} that you explore is noted here.`;
    this.list.replaceChildren(...points.slice(0, 300).map((point) => this.#item(point)));
    this.text.value = this.#write(points);
  }

  #item(point) {
    const picture = new Picture(this.page, { urgent: true });
    picture.show(point);
    const face = button("", () => this.#visit(point), { class: "face", title: describe(point, this.page.word()) });
    face.append(picture.box);
    const name = el("span", { class: "seed" }, isPlain(point) ? String(point.seed) : `${point.seed} +${point.toward.length + Object.values(point.moves).filter(Boolean).length}`);
    const drop = this.shown === "kept" ? button(`Take seed ${point.seed} off`, () => this.toggle(point), { icon: "close", bare: true, class: "mini" }) : null;
    return el("li", { class: "tile" }, face, el("div", { class: "caption" }, name, drop));
  }

  #visit(point) {
    byId("shelf").close();
    const { seed, toward, moves, truncation, labels } = point;
    this.page.store.go({ view: "explore", seed, toward, moves, psi: truncation, labels, round: 0 });
  }

  /** A seeds list; faces that no seed names stand under it as the page's addresses, a line each. */
  #write(points) {
    const seeds = points.filter(isSeedAlone).map((point) => point.seed);
    const others = points.filter((point) => !isSeedAlone(point)).map(({ seed, toward, moves, truncation, labels }) => write({ ...read(""), view: "explore", seed, toward, moves, psi: truncation, labels }));
    return [...(seeds.length ? [writeSeeds(seeds)] : []), ...others].join("\n");
  }

  #add(text) {
    const points = [];
    try {
      for (const line of text.split("\n").map((each) => each.trim()).filter(Boolean)) {
        if (!line.startsWith("#")) points.push(...readSeeds(line).map((seed) => ({ seed, toward: [], moves: {}, mode: "slerp", truncation: 1, labels: {} })));
        else {
          const { seed, toward, moves, psi, labels } = read(line);
          if (seed !== null) points.push({ seed, toward, moves, mode: "slerp", truncation: psi, labels: labelsFor(this.page.model(), labels) });
        }
      }
    } catch (error) {
      toast(error.message);
      return;
    }
    const had = new Set(this.kept.map(key));
    const fresh = points.filter((point) => !had.has(key(point)) && had.add(key(point)));
    this.shown = "kept";
    for (const input of byId("shelf").querySelectorAll("input[name=shelf]")) input.checked = input.value === "kept";
    this.#keep([...this.kept, ...fresh]);
    toast(fresh.length === 1 ? "1 added" : `${fresh.length} added`);
  }
}

function stored() {
  try {
    return JSON.parse(localStorage.getItem(STORED) ?? "{}");
  } catch {
    return {};
  }
}
