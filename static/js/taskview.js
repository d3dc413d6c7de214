/** The part of a task that the list's row, its own page and the embedded bar share. */

import { Writer, partsOf } from "./dom.js";
import * as show from "./format.js";
import { serverNow } from "./servertime.js";
import { credible, elapsed, silence } from "./state.js";

/** @typedef {import("./types.js").Task} Task */

/** Keeps one task's elements as its state is. */
export class TaskView {
  #root;
  #parts;
  #writer = new Writer();
  /** @type {Task | null} */
  #task = null;
  #elapsed = 0;

  /** @param {HTMLElement} root holds elements named by `data-part` */
  constructor(root) {
    this.#root = root;
    this.#parts = partsOf(root);
    this.cancelForm = root.querySelector('form[data-action="cancel"]');
    this.retryForm = root.querySelector('form[data-action="retry"]');
  }

  /** @returns {HTMLElement} */
  get root() {
    return this.#root;
  }

  /** @param {Task} task paint what is new in it */
  show(task) {
    if (task === this.#task) return;
    const turned = task.status !== this.#task?.status;
    if (turned) this.#elapsed = 0;
    this.#task = task;
    const { text, attribute } = this.#write();
    attribute(this.#root, "data-status", show.icon(task));
    attribute(this.#parts.get("icon"), "href", `#icon-${show.icon(task)}`);
    text("status", show.words(task));
    if (task.title !== undefined) text("title", task.title);
    text("percent", show.percent(task));
    text("counts", show.counts(task));
    text("message", this.#line(task));
    this.#bar(task);
    this.#buttons(task);
    if (turned) this.tick();
  }

  /** Paint what moves with time and what would flicker: elapsed, rate, time left. */
  tick() {
    if (this.#task === null) return;
    const now = serverNow();
    const task = credible(this.#task, now);
    const { text, attribute } = this.#write();
    const seconds = elapsed(task, now);
    // Not every change of a state measures the time anew: what was shown once has passed.
    this.#elapsed = Math.max(this.#elapsed, seconds ?? 0);
    text("elapsed", seconds === null ? "" : show.duration(this.#elapsed));
    text("rate", show.rate(task));
    const lost = task.status === "lost";
    text("eta", lost ? show.lostFor(silence(task, now)) : show.timeLeft(task));
    attribute(this.#parts.get("bar"), "aria-valuetext", show.valueText(task));
  }

  /** @param {Task} task @returns {string} */
  #line(task) {
    const inRow = this.#root.tagName === "LI";
    return (inRow && task.error ? task.error.message : task.message) ?? "";
  }

  /** @param {Task} task */
  #bar(task) {
    const { attribute } = this.#write();
    const bar = this.#parts.get("bar");
    const unknown = task.progress === null;
    attribute(bar, "aria-valuenow", unknown ? null : String(task.progress));
    attribute(bar, "data-indeterminate", unknown && task.status === "in_progress" ? "" : null);
    attribute(this.#parts.get("fill"), "width", `${task.progress ?? 0}%`);
  }

  /** @param {Task} task */
  #buttons(task) {
    const over = show.ended(task);
    const shown = over ? this.retryForm : this.cancelForm;
    const gone = over ? this.cancelForm : this.retryForm;
    const held = gone?.contains(document.activeElement) ?? false;
    this.#writer.flag(this.cancelForm ?? undefined, "hidden", over);
    this.#writer.flag(this.retryForm ?? undefined, "hidden", !over);
    const idle = task.cancellable === false || task.cancel_requested === true;
    const button = this.cancelForm?.querySelector("button") ?? undefined;
    this.#writer.attribute(button, "disabled", null);
    this.#writer.attribute(button, "aria-disabled", idle ? "true" : null);
    if (held) shown?.querySelector("button")?.focus();
  }

  #write() {
    return {
      /** @param {string} part @param {string} value */
      text: (part, value) => this.#writer.text(this.#parts.get(part), value),
      /** @param {Element | undefined} element @param {string} name @param {string | null} value */
      attribute: (element, name, value) => this.#writer.attribute(element, name, value),
    };
  }
}
