// A row of faces that differ in one number. A click takes that number.

import { button, el } from "./dom.js";
import { Picture } from "./picture.js";

export class Strip {
  constructor(page, length, choose) {
    this.box = el("div", { class: "strip" });
    this.box.style.setProperty("--length", length);
    this.cells = Array.from({ length }, (_, place) => {
      const picture = new Picture(page);
      const text = el("span", { class: "seed" });
      const cell = button("", () => choose(place), { class: "cell" });
      cell.append(picture.box, text);
      this.box.append(cell);
      return { cell, picture, text };
    });
  }

  /** The faces of some points with a text under each; `chosen` is the place of the present one, or −1. */
  show(points, texts, chosen) {
    this.cells.forEach(({ cell, picture, text }, place) => {
      text.textContent = texts[place];
      cell.setAttribute("aria-pressed", String(place === chosen));
      picture.show(points[place]);
    });
  }
}
