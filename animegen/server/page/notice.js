// What went wrong outside, and what is being done about it.

import { announce, byId, el, raise } from "./dom.js";
import { hasToken, keepToken } from "./token.js";

let shown = "";

/** Show a trouble of draw.js; null when it is over. */
export function trouble(what) {
  const box = byId("notice");
  if (!what) {
    if (shown) announce("Back again");
    shown = "";
    box.hidePopover();
    return;
  }
  const { kind, seconds, again } = what;
  const soon = `${seconds} second${seconds === 1 ? "" : "s"}`;
  const texts = {
    busy: `Much is asked for at once. It goes on in ${soon}.`,
    away: `Nobody answers. What is here stays, and it is tried again in ${soon}.`,
    changed: "The models here have changed since this page was loaded.",
    token: "This server asks for its token now.",
  };
  if (again) say(texts[kind], again);
  else say(texts[kind], () => location.reload(), "Load again");
  if (shown !== kind) announce(texts[kind]);
  shown = kind;
}

/** Show a text, with a button if there is something to do. */
export function say(text, act, label = "Try now") {
  byId("notice-text").textContent = text;
  const button = byId("notice-act");
  button.hidden = !act;
  button.textContent = label;
  button.onclick = act ?? null;
  const box = byId("notice");
  if (!text) box.hidePopover();
  else if (!box.contains(document.activeElement)) raise(box); // hidden for a moment it would lose the focus
}

/** Show what is on its way, {what, loaded, total} in bytes; null when it is there. */
export function loading(state) {
  byId("loading").hidden = !state;
  if (!state) return;
  const { what, loaded, total } = state;
  byId("loading-text").textContent = total ? `Loading ${what}, ${Math.round((100 * loaded) / total)} %` : `Loading ${what}`;
  const bar = byId("loading-bar");
  if (total) bar.value = loaded / total;
  else bar.removeAttribute("value");
}

/** Ask for the token of a server that wants one, and begin anew with it. */
export function askToken() {
  const input = el("input", { type: "password", required: true, autocomplete: "current-password", pattern: "[!-~]+", "aria-label": "Token" });
  const form = el("form", { class: "bar", on: { submit: (event) => {
    event.preventDefault();
    keepToken(input.value);
    location.reload();
  } } }, input, el("button", { class: "row strong" }, "Go on"));
  say(hasToken() ? "That is not this server’s token." : "This server asks for its token.");
  byId("notice").append(form);
  input.focus();
}
