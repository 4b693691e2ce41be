// The page: it opens the engine that config.json names, and gives the rooms what they share.

import { Controls } from "./controls.js";
import { announce, byId } from "./dom.js";
import { Draw } from "./draw.js";
import { Explore } from "./explore.js";
import { keys } from "./keys.js";
import { Kiosk, randomStops } from "./kiosk.js";
import { Morph } from "./morph.js";
import { askToken, loading, say, trouble } from "./notice.js";
import { Pins } from "./pins.js";
import { labelsFor } from "./points.js";
import { Save } from "./save.js";
import { randomSeed, readSeed } from "./seeds.js";
import { Shelf } from "./shelf.js";
import { Store, VIEWS, write } from "./state.js";
import { Wall } from "./wall.js";

class Page {
  constructor(engine) {
    this.engine = engine;
    this.store = new Store((state) => this.#complete(state));
    this.#frame(); // first of all followers, as the others measure what it shows
    this.controls = new Controls(this);
    this.controls.tell(engine);
    this.draw = new Draw(engine, { trouble, drawn: (ms) => this.controls.took(ms) });
    this.shelf = new Shelf(this);
    this.pins = new Pins(this);
    this.wall = new Wall(this);
    const explored = new Explore(this);
    this.directions = explored.directions;
    new Morph(this);
    new Kiosk(this);
    this.save = new Save(this);
    keys();
    this.store.set({});
    this.shelf.count();
  }

  get look() {
    return this.controls.look;
  }

  watchLook(watcher) {
    this.controls.watch(watcher);
  }

  /** The model that is shown: the one that the address names, or the first. */
  model() {
    const { models } = this.engine;
    return models.find((model) => model.name === this.store.state.model) ?? models[0];
  }

  /** What the model makes, in a word. */
  word() {
    return /face|anime/i.test(this.model().name) ? "face" : "image";
  }

  explore(seed) {
    this.store.go({ view: "explore", seed, toward: [], moves: {}, round: 0 });
  }

  jump(seed) {
    if (this.store.state.view === "explore") this.explore(seed);
    else this.store.go({ view: "wall", at: seed });
    announce(`Seed ${seed}`);
  }

  dice() {
    this.jump(randomSeed());
  }

  /** What a view needs and no address said. */
  #complete(state) {
    const { models } = this.engine;
    const more = {};
    if (!models.some((model) => model.name === state.model)) {
      if (state.model) say(`This address is of the model ${state.model}, which isn’t here: what you see is of ${models[0].name}.`, () => say(""), "All right");
      more.model = models[0].name;
    }
    const model = models.find((each) => each.name === (more.model ?? state.model));
    // What another model had is left behind.
    more.moves = Object.fromEntries(Object.entries(state.moves).filter(([direction]) => direction < (model.directions ?? 0)));
    more.labels = labelsFor(model, state.labels);
    const [missing] = Object.entries(state.labels).filter(([name]) => !(name in more.labels));
    if (missing && !(state.model && more.model)) say(`${model.name} has no ${missing.join(" ")}: it is left out.`, () => say(""), "All right");
    const here = state.seed ?? this.wall?.current ?? state.at;
    if (state.view === "explore" && state.seed === null) more.seed = here;
    if (state.view === "morph") {
      more.a = state.a ?? (here === state.b ? randomSeed() : here);
      more.b = state.b ?? randomSeed();
    }
    if (state.view === "kiosk" && state.stops.length < 2) more.stops = randomStops();
    return { ...state, ...more };
  }

  /** The frame about the rooms: which one is open, the seed field, the options of a phone. */
  #frame() {
    const { store } = this;
    const jump = byId("jump-seed");
    byId("jump").addEventListener("submit", (event) => {
      event.preventDefault();
      const seed = readSeed(jump.value);
      jump.setCustomValidity(seed === null ? "A seed is a whole number from 0 to 4294967295" : "");
      if (!jump.reportValidity()) return;
      jump.blur();
      this.jump(seed);
    });
    jump.addEventListener("input", () => jump.setCustomValidity(""));
    jump.addEventListener("focus", () => jump.select());
    byId("dice").addEventListener("click", () => this.dice());
    const options = byId("open-options");
    const turn = (open) => {
      document.body.classList.toggle("options-open", open);
      options.setAttribute("aria-expanded", String(open));
    };
    options.addEventListener("click", () => turn(options.getAttribute("aria-expanded") !== "true"));
    byId("chosen").addEventListener("click", () => turn(true));
    document.addEventListener("keydown", (event) => event.key === "Escape" && turn(false));
    byId("stage").addEventListener("pointerdown", () => turn(false));
    const links = document.querySelectorAll("a[data-view]");
    for (const link of links) {
      link.addEventListener("click", (event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey) return;
        event.preventDefault();
        turn(false);
        store.go({ view: link.dataset.view });
      });
    }
    store.follow((state, before) => {
      const leaves = state.view !== before.view && byId("stage").contains(document.activeElement);
      document.documentElement.dataset.view = state.view;
      for (const view of VIEWS) byId(view).hidden = view !== state.view;
      for (const link of links) {
        link.href = write({ ...state, view: link.dataset.view });
        if (link.dataset.view === state.view) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
      }
      byId("jump").hidden = state.view !== "wall" && state.view !== "explore";
      const seed = state.view === "explore" ? state.seed : state.at;
      if (document.activeElement !== jump) jump.value = seed;
      const titles = { wall: "Wall", explore: `Seed ${state.seed}`, morph: `${state.a} to ${state.b}`, kiosk: "Kiosk" };
      document.title = `${titles[state.view]} · animegen`;
      if (state.view !== before.view) byId("stage").scrollTop = 0;
      if (leaves) byId("stage").focus({ preventScroll: true }); // what had the focus is hidden now
    });
  }
}

/** What stands in config.json, sooner or later. */
async function config(tries = 0) {
  try {
    const answer = await fetch(new URL("config.json", document.baseURI));
    if (answer.ok) return await answer.json();
    if (answer.status === 401) {
      askToken();
      return new Promise(() => {});
    }
  } catch {
    // Nobody answers yet.
  }
  const seconds = [1, 2, 4, 8, 15, 30][Math.min(tries, 5)];
  await new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    trouble({ kind: "away", seconds, again: () => resolve(clearTimeout(timer)) });
  });
  const found = await config(tries + 1);
  trouble(null);
  return found;
}

const said = await config();
try {
  const { open } = await import(`./engine-${said.engine === "local" ? "local" : "server"}.js`);
  const progress = (state) => {
    loading(state);
    if (!state) window.animegen?.controls.tell(window.animegen.engine); // a model that was chosen later is there
  };
  const engine = await open(said, { progress });
  loading(null);
  engine.licences = said.licences;
  window.animegen = new Page(engine);
} catch (error) {
  say(`This page can’t begin: ${error.message}`, () => location.reload(), "Load again");
  throw error;
}
