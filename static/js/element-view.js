/** What a `<task-progress>` shows, in its shadow root. */

import { Writer } from "./dom.js";
import { style } from "./element-style.js";
import * as show from "./format.js";
import { credible, elapsed, silence } from "./state.js";

/** @typedef {import("./types.js").Task} Task */

const FACTS = ["counts", "rate", "eta", "elapsed"];

/** The parts of one element; each is named for `::part`. */
export class ElementView {
  #writer = new Writer();
  /** @type {Map<string, HTMLElement>} */
  #parts = new Map();
  #fallback = document.createElement("slot");

  /** @param {ShadowRoot} root */
  constructor(root) {
    root.adoptedStyleSheets = [style()];
    const box = this.#make("div", "box");
    const head = this.#make("div", "head", box);
    this.#make("span", "status", head);
    this.#make("span", "title", head).id = "title";
    this.#make("span", "percent", head);
    const bar = this.#make("div", "bar", box);
    for (const [name, value] of Object.entries({
      role: "progressbar",
      "aria-labelledby": "title",
      "aria-valuemin": "0",
      "aria-valuemax": "100",
    })) {
      bar.setAttribute(name, value);
    }
    this.#make("div", "fill", bar);
    const facts = this.#make("p", "facts", box);
    for (const name of FACTS) this.#make("span", name, facts);
    this.#make("p", "message", box).dir = "auto";
    this.#part("title").dir = "auto";
    const note = this.#make("p", "note");
    const news = this.#make("p", "unseen");
    note.setAttribute("role", "status");
    news.setAttribute("role", "status");
    box.hidden = true;
    root.append(this.#fallback, box, note, news);
  }

  /** @param {string} sentence what is the matter; "" for nothing */
  note(sentence) {
    this.#writer.text(this.#part("note"), sentence);
  }

  /** @param {string} sentence said politely, once */
  announce(sentence) {
    this.#part("unseen").textContent = sentence;
  }

  /** Show what the page has put into the element, instead of a task. */
  empty() {
    this.#part("box").hidden = true;
    this.#fallback.hidden = false;
  }

  /** @param {Task} task @param {number} now the server's time */
  show(task, now) {
    this.#part("box").hidden = false;
    this.#fallback.hidden = true;
    this.#text("status", show.words(task));
    this.#text("title", task.title ?? "");
    this.#text("percent", show.percent(task));
    this.#text("counts", show.counts(task));
    this.#text("message", show.line(task));
    const bar = this.#part("bar");
    const unknown = task.progress === null;
    this.#writer.attribute(bar, "data-status", task.status);
    this.#writer.attribute(bar, "aria-valuenow", unknown ? null : String(task.progress));
    this.#writer.flag(bar, "data-indeterminate", unknown && task.status === "in_progress");
    this.#part("fill").style.width = `${task.progress ?? 0}%`;
    this.tick(task, now);
  }

  /** @param {Task} task @param {number} now paint what moves with time */
  tick(task, now) {
    const seconds = elapsed(task, now);
    const likely = credible(task, now);
    const lost = task.status === "lost";
    this.#text("rate", show.rate(likely));
    this.#text("eta", lost ? show.lostFor(silence(task, now)) : show.timeLeft(likely));
    this.#text("elapsed", seconds === null ? "" : show.duration(seconds));
    this.#writer.attribute(this.#part("bar"), "aria-valuetext", show.valueText(likely));
  }

  /** @param {string} name @param {string} value */
  #text(name, value) {
    this.#writer.text(this.#part(name), value);
  }

  /** @param {string} name @returns {HTMLElement} */
  #part(name) {
    return /** @type {HTMLElement} */ (this.#parts.get(name));
  }

  /** @param {string} tag @param {string} name @param {HTMLElement} [into] @returns {HTMLElement} */
  #make(tag, name, into) {
    const element = document.createElement(tag);
    element.className = name;
    element.setAttribute("part", name);
    this.#parts.set(name, element);
    into?.append(element);
    return element;
  }
}
