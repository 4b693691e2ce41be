// Small helpers for elements, texts that are announced, and the clipboard.

/** An element. `props` are its properties; `class`, `role`, `for` and names with a dash are attributes, `on` its listeners. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name === "on") for (const [type, listener] of Object.entries(value)) node.addEventListener(type, listener);
    else if (name === "class" || name === "role" || name === "for" || name.includes("-")) node.setAttribute(name, value);
    else node[name] = value;
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export const byId = (id) => document.getElementById(id);

/** A drawing of the sprite in index.html. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/** A button: with an icon alone its text is the label that is read out, else the text stands behind the icon. */
export function button(text, act, { icon: drawing, bare = false, ...props } = {}) {
  const content = [drawing ? icon(drawing) : null, bare ? null : text];
  const label = bare ? { "aria-label": text, title: text } : {};
  return el("button", { type: "button", ...label, ...props, on: { click: act } }, ...content);
}

/** Radio buttons side by side, as a fieldset; `choose` is called with the chosen value. */
export function segments(legend, name, choices, chosen, choose) {
  const set = el("fieldset", { class: "segments" }, el("legend", {}, legend));
  for (const [value, text] of choices) {
    const input = el("input", { type: "radio", name, value, checked: value === chosen, on: { change: () => choose(value) } });
    set.append(el("label", {}, input, el("span", {}, text)));
  }
  return set;
}

/** Say a text to whoever listens instead of looking. */
export function announce(text) {
  byId("live").textContent = text;
}

/** Show a popover over all that is there, an open dialog too. */
export function raise(box) {
  box.hidePopover();
  box.showPopover();
}

let fading;

/** Say a text to everybody, for a moment. */
export function toast(text) {
  const box = byId("toast");
  box.textContent = text;
  raise(box);
  announce(text);
  clearTimeout(fading);
  fading = setTimeout(() => box.hidePopover(), 2200);
}

export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without https there is no clipboard but that of a selection.
    const area = el("textarea", { value: text, class: "unseen", readOnly: true });
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) return toast("The browser keeps its clipboard to itself");
  }
  return toast(`${what} copied`);
}

/** Hand a file to whoever looks. */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** A function of which one run is under way at most: of the values that come meanwhile the last one is taken. */
export function latest(run) {
  let busy = false;
  let next = null;
  return async (value) => {
    next = { value };
    if (busy) return;
    busy = true;
    try {
      while (next) {
        const { value: now } = next;
        next = null;
        await run(now);
      }
    } finally {
      busy = false;
    }
  };
}

const reduced = matchMedia("(prefers-reduced-motion: reduce)");

/** Whether motion is unwanted here; `watch` is called when that changes. */
export const stillness = { wanted: () => reduced.matches, watch: (listener) => reduced.addEventListener("change", listener) };
