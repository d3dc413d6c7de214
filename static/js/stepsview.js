/** The step tracker of a task's page. */

import { Writer, fromTemplate, partsOf } from "./dom.js";
import { duration } from "./format.js";

/** @typedef {import("./types.js").Step} Step */

const PART = "data-step-part";

/** The `<ol>` of steps. */
export class StepsView {
  #section;
  #list;
  #writer = new Writer();
  /** @type {{ root: Element, parts: Map<string, Element> }[]} */
  #rows = [];

  /** @param {HTMLElement} section @param {HTMLElement} list with what the server rendered */
  constructor(section, list) {
    this.#section = section;
    this.#list = list;
    this.#rows = Array.from(list.children, (root) => ({ root, parts: partsOf(root, PART) }));
  }

  /** @param {Step[]} steps */
  show(steps) {
    this.#writer.flag(this.#section, "hidden", steps.length === 0);
    while (this.#rows.length > steps.length) this.#rows.pop()?.root.remove();
    while (this.#rows.length < steps.length) {
      const root = fromTemplate("step-template");
      this.#list.append(root);
      this.#rows.push({ root, parts: partsOf(root, PART) });
    }
    steps.forEach((step, place) => this.#step(step, place));
  }

  /** @param {Step} step @param {number} place */
  #step(step, place) {
    const { root, parts } = this.#rows[place];
    const now = step.status === "in_progress";
    const writer = this.#writer;
    writer.attribute(root, "data-status", step.status);
    writer.attribute(root, "aria-current", now ? "step" : null);
    writer.attribute(parts.get("icon"), "href", `#icon-${step.status}`);
    writer.text(parts.get("name"), step.name);
    writer.text(parts.get("status"), step.status.replace("_", " "));
    const percent = now && step.progress !== null ? `${Math.floor(step.progress)}%` : "";
    writer.text(parts.get("percent"), percent);
    writer.text(parts.get("elapsed"), step.elapsed_s === null ? "" : duration(step.elapsed_s));
  }
}
