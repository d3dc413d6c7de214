/** The filters by status, with their counts. */

import { Writer } from "./dom.js";

/** @typedef {import("./types.js").Counts} Counts */

const ACTIVE = ["in_progress", "queued", "lost"];

/** The links of the list's statuses; the one without a status stands for all. */
export class Chips {
  #writer = new Writer();
  #chips;

  /** @param {HTMLElement} nav */
  constructor(nav) {
    this.#chips = [...nav.querySelectorAll("a")];
  }

  /** @param {Counts} counts @param {string} chosen the status, "" for all */
  show(counts, chosen) {
    const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
    for (const chip of this.#chips) {
      const status = chip.dataset.status ?? "";
      const count = status === "" ? all : (counts[status] ?? 0);
      this.#writer.text(chip.querySelector("[data-count]") ?? undefined, String(count));
      this.#writer.attribute(chip, "aria-current", status === chosen ? "true" : null);
    }
  }
}

/** @param {Counts} counts @returns {number} how many tasks have not ended */
export function activeOf(counts) {
  return ACTIVE.reduce((sum, status) => sum + (counts[status] ?? 0), 0);
}
