/** A task drawn with Bootstrap 5's classes. */

import { Writer, partsOf } from "./dom.js";
import { ended } from "./format.js";
import { TaskView } from "./taskview.js";

/** @typedef {import("./types.js").Task} Task */

/** @type {Record<string, string>} */
const TONES = {
  completed: "bg-success",
  failed: "bg-danger",
  lost: "bg-warning",
  cancelled: "bg-secondary",
};

/** Keeps one task's elements as its state is. */
export class BootstrapView {
  #view;
  #stripe;
  #writer = new Writer();
  #width = "";

  /** @param {HTMLElement} root holds elements named by `data-part` */
  constructor(root) {
    this.#view = new TaskView(root);
    this.#stripe = /** @type {HTMLElement | undefined} */ (partsOf(root).get("stripe"));
  }

  /** @param {Task} task paint what is new in it */
  show(task) {
    this.#view.show(task);
    if (this.#stripe === undefined) return;
    const moves = !ended(task) && task.status !== "lost";
    const classes = ["progress-bar", TONES[task.status] ?? ""];
    if (moves) classes.push("progress-bar-striped", "progress-bar-animated");
    this.#writer.attribute(this.#stripe, "class", classes.filter(Boolean).join(" "));
    const width = moves && task.progress !== null ? `${task.progress}%` : "100%";
    if (width !== this.#width) this.#stripe.style.width = this.#width = width;
  }

  tick() {
    this.#view.tick();
  }
}
