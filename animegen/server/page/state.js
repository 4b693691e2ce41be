// What is seen, and the address that says it: a link is the picture. Everything of it stands in the URL's fragment, so
// that no server has to know it.

import { isSeed, readSeed, readSeeds, writeSeeds } from "./seeds.js";
import { MOST_TOWARD, short } from "./points.js";

export const VIEWS = ["wall", "explore", "morph", "kiosk"];

const FIRST = {
  view: "wall",
  model: null, // a name; null is the first one served
  psi: 1,
  labels: {}, // group: class
  at: 0, // the wall's first seed
  a: null, // pinned seeds
  b: null,
  t: 0.5, // the share of B
  mode: "slerp",
  seed: null, // the explorer's point
  toward: [],
  moves: {},
  near: 0.25, // how far its relatives are
  round: 0, // which eight of them
  stops: [], // the kiosk's seeds
};

/** The state that a fragment says; what can't be is left out. */
export function read(fragment) {
  const [view, ...rest] = fragment.replace(/^#/, "").split("&");
  const state = { ...FIRST, labels: {}, toward: [], moves: {}, stops: [] };
  if (VIEWS.includes(view)) state.view = view;
  for (const pair of rest) {
    const place = pair.indexOf("=");
    if (place > 0) readPart(state, pair.slice(0, place), decode(pair.slice(place + 1)));
  }
  return state;
}

function readPart(state, name, value) {
  const [left, right] = split(value, name === "label" ? "=" : ":");
  if (["at", "a", "b", "seed"].includes(name)) state[name] = readSeed(value) ?? FIRST[name];
  else if (["psi", "t", "near"].includes(name)) state[name] = within(value, 0, 1) ?? FIRST[name];
  else if (name === "round") state.round = within(value, 0, 1e6) ?? 0;
  else if (name === "model") state.model = value;
  else if (name === "mode") state.mode = value === "lerp" ? "lerp" : "slerp";
  else if (name === "label" && right) state.labels[left] = right;
  else if (name === "stops") state.stops = seedsOr(value);
  else if (name === "toward" && state.toward.length < MOST_TOWARD) {
    const share = within(right, 0, 1);
    if (isSeed(Number(left)) && share !== null) state.toward.push([Number(left), share]);
  } else if (name === "move" && /^\d{1,4}$/.test(left)) state.moves[left] = within(right, -1000, 1000) ?? 0;
}

/** The fragment that says a state: what its view needs, and what is pinned. */
export function write(state) {
  const found = [];
  const add = (name, value) => found.push(`${name}=${encodeURIComponent(value).replace(/%(3A|2C|3D|20)/g, (code) => PLAIN[code])}`);
  if (state.view === "wall" && state.at) add("at", state.at);
  if (state.view === "explore" && state.seed !== null) {
    add("seed", state.seed);
    for (const [seed, share] of state.toward) add("toward", `${seed}:${short(share)}`);
    for (const [direction, length] of Object.entries(state.moves)) if (length) add("move", `${direction}:${short(length)}`);
    if (state.near !== FIRST.near) add("near", short(state.near));
    if (state.round) add("round", state.round);
  }
  if (state.view === "kiosk" && state.stops.length) add("stops", writeSeeds(state.stops));
  if (state.a !== null) add("a", state.a);
  if (state.b !== null) add("b", state.b);
  if (state.view === "morph") {
    add("t", short(state.t));
    if (state.mode !== FIRST.mode) add("mode", state.mode);
  }
  if (state.psi !== 1) add("psi", short(state.psi));
  for (const [group, label] of Object.entries(state.labels)) add("label", `${group}=${label}`);
  if (state.model) add("model", state.model);
  return `#${[state.view, ...found].join("&")}`;
}

const PLAIN = { "%3A": ":", "%2C": ",", "%3D": "=", "%20": "+" };

function decode(text) {
  try {
    return decodeURIComponent(text.replace(/\+/g, " "));
  } catch {
    return "";
  }
}

function split(text, sign) {
  const place = text.indexOf(sign);
  return place < 0 ? [text, ""] : [text.slice(0, place), text.slice(place + 1)];
}

function within(text, least, most) {
  const number = text === "" ? NaN : Number(text);
  return number >= least && number <= most ? number : null;
}

function seedsOr(text) {
  try {
    return readSeeds(text, 64);
  } catch {
    return [];
  }
}

/** The state, who follows it, and the browser's history. */
export class Store {
  #followers = [];
  #writing = 0;

  /** @param complete fills what a state's view needs and its address didn't say */
  constructor(complete = (state) => state) {
    this.complete = complete;
    this.state = read(location.hash);
    addEventListener("popstate", () => this.#arrive());
    addEventListener("hashchange", () => this.#arrive());
  }

  /** Call `follower(state, before)` after each change. */
  follow(follower) {
    this.#followers.push(follower);
  }

  /** Change it where one is: the address follows a moment later, as browsers limit how often it may. */
  set(changes) {
    this.#take(changes);
    this.#writing ||= setTimeout(() => this.#write(), 150);
  }

  /** Go somewhere else, which the browser's back undoes. */
  go(changes) {
    this.#write();
    const next = this.complete({ ...this.state, ...changes });
    if (write(next) !== location.hash) history.pushState(null, "", write(next));
    this.#take(next);
  }

  /** The whole address of what is seen now. */
  link() {
    this.#write();
    return location.href;
  }

  #write() {
    clearTimeout(this.#writing);
    this.#writing = 0;
    const hash = write(this.state);
    if (hash !== location.hash) history.replaceState(null, "", hash);
  }

  #arrive() {
    clearTimeout(this.#writing);
    this.#writing = 0;
    if (write(this.state) === location.hash) return;
    // What an address leaves out stays as it is: the wall's place, the face that was explored.
    const said = read(location.hash);
    const kept = { wall: ["at"], explore: ["seed", "toward", "moves", "near", "round"], morph: ["t", "mode"], kiosk: ["stops"] };
    for (const [view, names] of Object.entries(kept)) {
      if (view !== said.view) for (const name of names) said[name] = this.state[name];
    }
    this.#take(said);
  }

  #take(changes) {
    const before = this.state;
    this.state = this.complete({ ...before, ...changes });
    for (const follower of this.#followers) follower(this.state, before);
  }
}
