// The keyboard, explained.

import { button, byId, el } from "./dom.js";

const KEYS = [
  ["Arrows", "walk over the wall"],
  ["Page up, Page down", "a screenful"],
  ["Home, End", "the first seed and the last"],
  ["Enter", "pin: as A, then as B"],
  ["Space", "explore"],
  ["C", "copy the seed"],
  ["F", "keep on the shelf"],
  ["R", "a random place"],
  ["Esc", "leave the kiosk or a dialog"],
  ["?", "this list"],
];

export function keys() {
  const dialog = byId("keys");
  dialog.append(
    el("div", { class: "dialog-head" }, el("h2", { id: "keys-title", tabIndex: -1 }, "Keyboard"), button("Close", () => dialog.close(), { icon: "close", bare: true, class: "icon" })),
    el("div", { class: "dialog-body" }, el("dl", { class: "keys" }, ...KEYS.map(([key, what]) => el("div", {}, el("dt", {}, key), el("dd", {}, what))))),
  );
  const open = () => {
    dialog.showModal();
    byId("keys-title").focus();
  };
  byId("open-keys").addEventListener("click", open);
  document.addEventListener("keydown", (event) => {
    if (event.key === "?" && !event.target.closest?.("input, textarea, select, dialog")) open();
  });
}
