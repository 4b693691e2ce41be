// Taking along what is seen: as a file, or as the command that makes it.
//
// A job says what is made: {kind, form, scale, truncation, labels} and, by kind,
//   image: point · grid: seeds, columns, captions · strip: point, direction (null: all), range, steps, points
//   morph: a, b, steps, mode, fps · walk: seeds, frames, fps

import { announce, button, byId, copy, download, el, segments } from "./dom.js";
import { between, fileName, labelSuffix, ofState, short } from "./points.js";
import { readSeeds } from "./seeds.js";

const STILL = ["png", "webp", "jpg"];
const MOTION = ["gif", "webp", "mp4"];
const RANGE = [-3, 3];
const STEPS = 7;
const GAP = 2; // pixels between the images of a sheet, as animegen.grid has it
const CAPTION = 12;

export class Save {
  #asked = null;
  #tab = "Command";
  #told = null;

  constructor(page) {
    this.page = page;
    byId("open-save").addEventListener("click", () => this.open());
    byId("save").addEventListener("close", () => this.#asked?.abort());
  }

  /** What can be saved in the view, the first one being what is usually wanted. */
  #subjects() {
    const { state } = this.page.store;
    const model = this.page.model();
    const word = this.page.word();
    const face = (point) => ({ id: "image", text: `This ${word}`, kind: "image", scales: [1, 4, 8], values: { scale: 4 }, point });
    if (state.view === "wall") {
      const { first, last: end, columns } = this.page.wall.seen();
      const last = Math.min(end, first + this.page.engine.limits.images - 1);
      return [{ id: "grid", text: "Contact sheet", kind: "grid", scales: [1, 2, 4], values: { scale: 1, seeds: `${first}-${last}`, columns, captions: true } }];
    }
    if (state.view === "explore") {
      const point = ofState(state);
      const held = this.page.directions.current;
      const strips = model.directions
        ? [
            { id: "strip", text: `Direction ${held}`, kind: "strip", scales: [1, 2, 4], values: { scale: 2 }, point: without(point, held), direction: held },
            { id: "strips", text: "All directions", kind: "strip", scales: [1, 2, 4], values: { scale: 1 }, point, direction: null },
          ]
        : [];
      return [face(point), ...strips];
    }
    if (state.view === "kiosk") return [{ id: "walk", text: "The walk", kind: "walk", scales: [1, 4, 8], values: { scale: 4, frames: 144, fps: 24 }, moves: true }];
    const ends = { kind: "morph", a: state.a, b: state.b };
    return [
      { ...ends, id: "motion", text: "There and back", scales: [1, 4, 8], values: { scale: 4, steps: 24, fps: 12 }, moves: true },
      face(between(state)),
      { ...ends, id: "row", text: "The row", scales: [1, 2, 4], values: { scale: 1, steps: 9 } },
    ];
  }

  open() {
    const subjects = this.#subjects();
    const dialog = byId("save");
    this.fields = el("div", { class: "stack" });
    this.facts = el("p", { class: "quiet facts" });
    this.trouble = el("p", { class: "trouble", role: "alert" });
    this.go = button("Save", () => this.#save(), { icon: "save", class: "row strong" });
    this.same = el("div", { class: "same" });
    const what = segments("What", "what", subjects.map(({ id, text }) => [id, text]), subjects[0].id, (id) => this.#choose(subjects.find((each) => each.id === id)));
    what.hidden = subjects.length < 2;
    dialog.replaceChildren(
      el("div", { class: "dialog-head" }, el("h2", { id: "save-title" }, "Take it along"), button("Close", () => dialog.close(), { icon: "close", bare: true, class: "icon" })),
      el("div", { class: "dialog-body" }, what, this.fields, el("div", { class: "bar" }, this.go, button("Link", () => copy(this.page.store.link(), "Link"), { icon: "link", class: "row" }), this.facts), this.trouble, el("h3", {}, "The same as"), this.same),
    );
    this.#choose(subjects[0]);
    dialog.showModal();
    this.go.focus();
  }

  #choose(subject) {
    this.subject = subject;
    this.values = { ...subject.values, form: this.#forms(subject)[0] };
    this.values.scale = Math.max(...subject.scales.filter((scale) => scale === 1 || (scale <= this.values.scale && this.#fits(this.job(), scale))));
    this.fields.replaceChildren(...this.#inputs(subject));
    this.#changed();
  }

  #forms({ moves, id }) {
    const { formats } = this.page.engine;
    const offered = Array.isArray(formats) ? { still: formats, motion: formats } : formats;
    return moves ? MOTION.filter((form) => offered.motion.includes(form)) : STILL.filter((form) => offered.still.includes(form) && (id !== "row" || form !== "webp")); // there a .webp moves
  }

  #inputs(subject) {
    const { values } = this;
    const set = (name, read) => (value) => {
      values[name] = read(value);
      this.#changed();
    };
    const number = (name, text, min, max) =>
      el("label", { class: "field" }, text, el("input", { type: "number", name, min, max, value: values[name], on: { input: (event) => set(name, Number)(event.target.value) } }));
    const choices = el(
      "div",
      { class: "fields" },
      segments("Form", "form", this.#forms(subject).map((form) => [form, form.toUpperCase()]), values.form, set("form", String)),
      segments("Scale", "scale", subject.scales.map((scale) => [String(scale), `${scale}×`]), String(values.scale), set("scale", Number)),
    );
    const inputs = [];
    if ("seeds" in values) inputs.push(el("label", { class: "field wide" }, "Seeds", el("input", { name: "seeds", value: values.seeds, spellcheck: false, on: { input: (event) => set("seeds", String)(event.target.value) } })));
    if ("columns" in values) inputs.push(number("columns", "Columns", 1, 64));
    if ("captions" in values) inputs.push(el("label", { class: "check" }, el("input", { type: "checkbox", name: "captions", checked: values.captions, on: { change: (event) => set("captions", Boolean)(event.target.checked) } }), "Seeds under them"));
    if ("steps" in values) inputs.push(number("steps", subject.moves ? "Faces one way" : "Faces", 2, 300));
    if ("frames" in values) inputs.push(number("frames", "Frames", 6, 600));
    if ("fps" in values) inputs.push(number("fps", "A second", 1, 60));
    return inputs.length ? [choices, el("div", { class: "fields" }, ...inputs)] : [choices];
  }

  /** The job that the fields describe; an Error says what is wrong with them. */
  job() {
    const { state } = this.page.store;
    const { kind, point, direction, a, b } = this.subject;
    const { form, scale, seeds, columns, captions, steps, frames, fps } = this.values;
    const all = { kind, form, scale, truncation: state.psi, labels: state.labels };
    for (const [name, value] of Object.entries({ columns, steps, frames, fps })) {
      if (value !== undefined && !(value >= 1)) throw new Error(`${name} must be a number, 1 or more`);
    }
    if (kind === "image") return { ...all, point };
    if (kind === "grid") {
      const list = readSeeds(seeds);
      if (!list.length) throw new Error("name some seeds, such as 0-31,77");
      return { ...all, seeds: list, columns: Math.min(columns, list.length), captions };
    }
    if (kind === "morph") return { ...all, a, b, steps, mode: state.mode, fps };
    if (kind === "walk") return { ...all, seeds: state.stops, frames, fps };
    const directions = direction === null ? Array.from({ length: this.page.model().directions }, (_, k) => k) : [direction];
    const amounts = Array.from({ length: STEPS }, (_, place) => RANGE[0] + ((RANGE[1] - RANGE[0]) * place) / (STEPS - 1));
    const points = directions.flatMap((each) => amounts.map((amount) => movedOn(point, each, amount)));
    return { ...all, point, direction, range: RANGE, steps: STEPS, points };
  }

  #name(job) {
    const model = this.page.model();
    const names = {
      image: () => fileName(model, job.point),
      grid: () => `${model.name}-sheet-${job.seeds[0]}`,
      strip: () => `${fileName(model, job.point)}-${job.direction === null ? "directions" : `direction-${job.direction}`}`,
      morph: () => `${model.name}-${job.a}-to-${job.b}`,
      walk: () => `${model.name}-walk-${job.seeds[0]}`,
    };
    const psi = job.truncation === 1 ? "" : `-psi-${short(job.truncation)}`;
    const stem = `${names[job.kind]()}${labelSuffix(model, job.labels)}${psi}`.replace(/[^\w.+-]+/g, "_");
    return `${stem.slice(0, 120)}${job.scale === 1 ? "" : `-${job.scale}x`}.${job.form}`;
  }

  #changed() {
    this.trouble.textContent = "";
    let job;
    try {
      job = this.job();
    } catch (error) {
      this.trouble.textContent = error.message;
      this.go.disabled = true;
      return;
    }
    this.go.disabled = false;
    this.facts.textContent = this.#size(job);
    for (const input of this.fields.querySelectorAll("input[name=scale]")) {
      input.disabled = !input.checked && !this.#fits(job, Number(input.value));
    }
    this.#tell(job, this.#name(job));
  }

  /** Show by what else the same file is made; the page asks for that code only here. */
  async #tell(job, name) {
    this.#told = job;
    const { commands } = await import("./commands.js");
    if (job !== this.#told) return; // the fields say something else by now
    const all = commands(this.page.engine, this.page.model(), job, name);
    if (!all.some((each) => each.name === this.#tab)) this.#tab = all[0].name;
    const code = el("code", {});
    const show = (tab) => {
      this.#tab = tab;
      code.textContent = all.find((each) => each.name === tab).code;
    };
    show(this.#tab);
    this.same.replaceChildren(
      el("div", { class: "bar" }, segments("", "same", all.map((each) => [each.name, each.name]), this.#tab, show), button("Copy", () => copy(code.textContent, this.#tab), { icon: "copy", class: "row" })),
      el("pre", { tabIndex: 0, role: "group", "aria-label": "The same as" }, code),
    );
  }

  /** The sides at scale 1, and the frames if it moves. */
  #measured(job) {
    const [, height, width] = this.page.model().image_shape;
    const across = (count, side) => count * (side + GAP) - GAP;
    const count = { grid: job.seeds?.length, strip: job.points?.length, morph: job.steps }[job.kind];
    const columns = { grid: job.columns, strip: job.steps, morph: job.steps }[job.kind];
    const single = job.kind === "image" || job.kind === "walk" || (job.kind === "morph" && this.subject.moves);
    const size = single ? [width, height] : [across(columns, width), across(Math.ceil(count / columns), height + (job.captions ? CAPTION : 0))];
    return { size, frames: job.kind === "walk" ? job.frames : this.subject.moves ? 2 * job.steps - 2 : 0 };
  }

  /** Whether as much is made here at once. */
  #fits(job, scale) {
    const { size, frames } = this.#measured(job);
    const { pixels, frame_pixels: together = pixels } = this.page.engine.limits;
    return size[0] * size[1] * scale ** 2 * (frames || 1) <= (frames ? together : pixels);
  }

  /** How large it will be, in pixels and frames. */
  #size(job) {
    const { size, frames } = this.#measured(job);
    const seconds = frames ? `, ${frames} frames, ${(frames / job.fps).toFixed(1)} s` : "";
    return `${size.map((side) => (side * job.scale).toLocaleString("en")).join(" × ")} pixels${seconds}`;
  }

  async #save() {
    const job = this.job();
    this.#asked?.abort();
    const asked = (this.#asked = new AbortController());
    this.go.disabled = true;
    this.go.lastChild.textContent = "Drawing…";
    this.trouble.textContent = "";
    try {
      const blob = await this.#made(job, asked.signal);
      if (asked.signal.aborted) return;
      download(blob, this.#name(job));
      announce("Saved");
    } catch (error) {
      if (error.name !== "AbortError") this.trouble.textContent = `${error.message}${/[.!]$/.test(error.message) ? "" : "."}`;
    } finally {
      this.go.disabled = false;
      this.go.lastChild.textContent = "Save";
    }
  }

  /** Made now, or when whoever makes it says that it is less busy: at most three tries. */
  async #made(job, signal, tries = 3) {
    try {
      return await this.page.engine.save(this.page.model(), job, { signal });
    } catch (error) {
      if (!error.retryAfter || tries < 2) throw error; // of what took too long nobody says when to come again
      const seconds = Math.min(30, error.retryAfter);
      this.trouble.textContent = `Busy: it is tried again in ${seconds} s.`;
      await new Promise((resolve, reject) => {
        setTimeout(resolve, seconds * 1000);
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      });
      this.trouble.textContent = "";
      return this.#made(job, signal, tries - 1);
    }
  }
}

/** A point that isn't moved along a direction, as its strip shows it at 0. */
function without(point, direction) {
  const { [direction]: _, ...moves } = point.moves;
  return { ...point, moves };
}

/** A point moved along a direction from where it is, as /v1/edit moves it. */
function movedOn(point, direction, amount) {
  return { ...point, moves: { ...point.moves, [direction]: (point.moves[direction] ?? 0) + amount } };
}
