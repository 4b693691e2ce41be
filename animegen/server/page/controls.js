// What holds in all views: ψ, labels, the model, and how pixels are shown.

import { byId, el } from "./dom.js";
import { UNKNOWN, inWords } from "./mixes.js";

const STORED = "animegen.look";
const AS_DRAWN = "as the seed draws";
const THEMES = ["system", "light", "dark"];

export class Controls {
  #built = null;
  #watchers = [];
  #speeds = [];
  #told = 0;

  constructor(page) {
    this.page = page;
    this.look = { size: 2, pixels: "smooth", theme: "system", ...stored() };
    const { store } = page;
    this.psi = byId("psi");
    this.psi.addEventListener("input", () => store.set({ psi: Number(this.psi.value) }));
    this.model = byId("model");
    this.model.addEventListener("change", () => store.go({ model: this.model.value, labels: {}, moves: {} }));
    for (const name of ["size", "pixels"]) {
      for (const input of document.querySelectorAll(`input[name=${name}]`)) {
        input.checked = input.value === String(this.look[name]);
        input.addEventListener("change", () => this.#set({ [name]: name === "size" ? Number(input.value) : input.value }));
      }
    }
    for (const toggle of document.querySelectorAll("[data-theme-toggle]")) toggle.addEventListener("click", () => this.#turn());
    this.#apply();
    store.follow((state) => this.#show(state));
  }

  watch(watcher) {
    this.#watchers.push(watcher);
  }

  /** Fill what the engine says of itself. */
  tell(engine) {
    this.model.replaceChildren(
      ...engine.models.map((model) => el("option", { value: model.name }, model.megabytes ? `${model.name}, ${Number(model.megabytes).toFixed(1)} MB` : model.name)),
    );
    this.model.value = this.page.model().name;
    const places = { server: "On the server", wasm: "In your browser", webgpu: "In your browser, on its GPU" };
    byId("where").textContent = `${places[engine.where] ?? engine.where}${engine.detail ? `, ${engine.detail}` : ""}`;
    const links = [engine.address && ["docs", "The API"], ...(engine.licences ?? []).map((path) => [path, `Licence of ${path.replace(/.*\/|\.\w+$/g, "").replace(/-/g, " ")}`])];
    byId("links").replaceChildren(...links.filter(Boolean).map(([path, text]) => el("a", { href: new URL(path, document.baseURI).href }, text)), byId("open-keys"));
  }

  /** Note how long a face took; the middle of the last ones is shown. */
  took(ms) {
    this.#speeds = [...this.#speeds.slice(-20), ms];
    if (performance.now() - this.#told < 400 && this.#told) return;
    this.#told = performance.now();
    const middle = [...this.#speeds].sort((a, b) => a - b)[Math.floor(this.#speeds.length / 2)];
    byId("speed").textContent = `${middle < 10 ? middle.toFixed(1) : Math.round(middle)} ms each`;
  }

  #show(state) {
    this.psi.value = state.psi;
    byId("psi-value").textContent = state.psi.toFixed(2);
    const model = this.page.model();
    if (this.#built !== model) this.#build(model);
    for (const group of model.labels ?? []) this.#choose(group, state.labels[group.name] ?? "");
    if (model.labels?.length) this.#drawn(state, model);
    const chosen = (model.labels ?? []).filter(({ name }) => state.labels[name]).map((group) => `${group.name} ${inWords(group, state.labels[group.name])}`);
    if (state.psi !== 1) chosen.push(`ψ ${state.psi.toFixed(2)}`);
    byId("chosen").textContent = chosen.join(" · "); // which a phone shows while its options are closed
  }

  /** Say which classes the one seed that is explored draws. */
  async #drawn(state, model) {
    const groups = counted(model);
    const isAlone = state.view === "explore" && !state.toward.length && groups.every(({ counts }) => counts);
    const { drawClasses } = await import("./label-law.js"); // only models with labels need it
    if (state !== this.page.store.state) return; // something else is shown by now
    const drawn = isAlone ? drawClasses(state.seed, model.z_dim, groups) : [];
    groups.forEach(({ name }, k) => {
      byId(`label-${name}`).options[0].text = isAlone ? `${AS_DRAWN}: ${drawn[k] ?? UNKNOWN}` : AS_DRAWN;
    });
  }

  /** Show what is chosen of a group: a class, that none is known, or a mix that the address says. */
  #choose(group, label) {
    const select = byId(`label-${group.name}`);
    select.querySelector(".mix")?.remove();
    if (![...select.options].some(({ value }) => value === label)) select.append(el("option", { value: label, class: "mix" }, inWords(group, label)));
    select.value = label;
  }

  #build(model) {
    this.#built = model;
    this.#speeds = [];
    this.model.value = model.name;
    byId("licence").textContent = model.licence;
    byId("status-licence").textContent = model.licence;
    const groups = counted(model);
    byId("labels").hidden = !groups.length;
    byId("labels").replaceChildren(...groups.map((group) => this.#label(group)));
  }

  #label(group) {
    const id = `label-${group.name}`;
    const choices = group.unknown && !group.classes.includes(UNKNOWN) ? [...group.classes, UNKNOWN] : group.classes;
    const choose = () => {
      const labels = { ...this.page.store.state.labels };
      if (select.value) labels[group.name] = select.value;
      else delete labels[group.name];
      this.page.store.go({ labels });
    };
    const select = el("select", { id, name: group.name, on: { change: choose } }, el("option", { value: "" }, AS_DRAWN), ...choices.map((name) => el("option", { value: name }, name)));
    return el("div", { class: "field" }, el("label", { for: id }, group.name), select);
  }

  #turn() {
    this.#set({ theme: THEMES[(THEMES.indexOf(this.look.theme) + 1) % THEMES.length] });
  }

  #set(changes) {
    this.look = { ...this.look, ...changes };
    try {
      localStorage.setItem(STORED, JSON.stringify(this.look));
    } catch {
      // It holds for this visit.
    }
    this.#apply();
    for (const watcher of this.#watchers) watcher();
  }

  #apply() {
    const { theme, pixels } = this.look;
    const root = document.documentElement;
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    root.dataset.pixels = pixels;
    for (const toggle of document.querySelectorAll("[data-theme-toggle]")) {
      const text = { system: "Light or dark: as your system", light: "Light or dark: light", dark: "Light or dark: dark" }[theme];
      if (toggle.classList.contains("icon")) {
        toggle.setAttribute("aria-label", text);
        toggle.title = text;
      } else toggle.lastChild.textContent = text;
    }
  }
}

/** A model's groups of labels, with how often each class was in training where the card says it. */
function counted({ labels = [], card }) {
  return labels.map((group) => ({ ...card?.labels?.find(({ name }) => name === group.name), ...group }));
}

function stored() {
  try {
    return JSON.parse(localStorage.getItem(STORED) ?? "{}");
  } catch {
    return {};
  }
}
