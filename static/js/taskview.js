/** The part of a task that the list's row, its own page and the embedded bar share. */

import { Writer, partsOf } from "./dom.js";
import * as show from "./format.js";
import { serverNow } from "./servertime.js";
import { credible, elapsed, silence } from "./state.js";

/** @typedef {import("./types.js").Task} Task */

const YOUNG_S = 1;

/** Keeps one task's elements as its state is. */
export class TaskView {
  #root;
  #parts;
  #writer = new Writer();
  /** @type {Task | null} */
  #task = null;
  #elapsed = 0;
  #textAt = -Infinity;
  #scale = "";

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

  /**
   * Paint what is new in a task: its bar now, what is read of it not more often than it can be read.
   * @param {Task} task
   * @param {number} [textMs] how old the texts may be; a tick makes them new too
   */
  show(task, textMs = 100) {
    if (task === this.#task) return;
    const before = this.#task;
    const turned = show.icon(task) !== (before === null ? "" : show.icon(before));
    if (task.status !== before?.status) this.#elapsed = 0;
    this.#task = task;
    this.#bar(task);
    const now = performance.now();
    if (turned) {
      this.#turn(task);
      this.tick();
    } else if (now - this.#textAt >= textMs) this.#texts(task, now);
  }

  /** @param {Task} task what changes seldom */
  #turn(task) {
    const { text, attribute } = this.#write();
    attribute(this.#root, "data-status", show.icon(task));
    attribute(this.#parts.get("icon"), "href", `#icon-${show.icon(task)}`);
    text("status", show.words(task));
    this.#buttons(task);
    this.#age(task);
  }

  /** @param {Task} task @param {number} now */
  #texts(task, now) {
    this.#textAt = now;
    const { text } = this.#write();
    if (task.title !== undefined) text("title", task.title);
    text("percent", show.percent(task));
    text("counts", show.counts(task));
    text("message", this.#root.tagName === "ARTICLE" ? show.lastLine(task) : show.line(task));
    if (task.host !== undefined) text("host", task.host ?? "");
  }

  /** @param {Task} task what may be over within a second has a spinner, not a bar that flashes */
  #age(task) {
    const seconds = elapsed(task, serverNow()) ?? 0;
    const young = (task.status === "in_progress" && seconds < YOUNG_S) || isNew(task);
    this.#writer.flag(this.#root, "data-young", young);
    if (young) setTimeout(() => this.#grown(task), (YOUNG_S - seconds) * 1000);
  }

  /** @param {Task} task as it was */
  #grown(task) {
    if (this.#task?.status === task.status) this.#writer.flag(this.#root, "data-young", false);
  }

  /** Paint what moves with time and what would flicker: elapsed, rate, time left. */
  tick() {
    if (this.#task === null) return;
    this.#texts(this.#task, performance.now());
    const now = serverNow();
    const task = credible(this.#task, now);
    const { text, attribute } = this.#write();
    const seconds = task.elapsed_s ?? null;
    // Not every change of a state measures the time anew: what was shown once has passed.
    this.#elapsed = Math.max(this.#elapsed, seconds ?? 0);
    text("elapsed", seconds === null ? "" : show.duration(this.#elapsed));
    text("rate", show.rate(task));
    const lost = task.status === "lost";
    text("eta", lost ? show.lostFor(silence(task, now)) : show.timeLeft(task));
    attribute(this.#parts.get("bar"), "aria-valuetext", show.valueText(task));
  }

  /** @param {Task} task */
  #bar(task) {
    const { attribute } = this.#write();
    const bar = this.#parts.get("bar");
    const unknown = task.progress === null;
    attribute(bar, "aria-valuenow", unknown ? null : String(task.progress));
    attribute(bar, "data-indeterminate", unknown && task.status === "in_progress" ? "" : null);
    // A transform moves the bar without any layout, and its transition without this thread.
    const scale = unknown ? "" : `scaleX(${(task.progress ?? 0) / 100})`;
    const fill = /** @type {SVGElement | undefined} */ (this.#parts.get("fill"));
    if (fill === undefined || scale === this.#scale) return;
    this.#scale = scale;
    attribute(fill, "width", "100%"); // once: the same anew would have the bar painted anew
    fill.style.transform = scale;
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
    // It is dim where it would be in vain, and still says why when it is pressed.
    const again = this.retryForm?.querySelector("button") ?? undefined;
    this.#writer.attribute(again, "aria-disabled", task.retryable === false ? "true" : null);
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

/** @param {Task} task @returns {boolean} whether it waits since less than a second */
function isNew(task) {
  return task.status === "queued" && serverNow() - (task.created_at ?? 0) < YOUNG_S;
}
