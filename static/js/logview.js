/** The log of a task's page: its newest lines, followed unless the reader has scrolled up. */

import { byId } from "./dom.js";
import { nextFrame } from "./frame.js";
import { LogBuffer } from "./logbuffer.js";

const MOST_LINES = 2_000;
const PIECE = 1_000;

/** @typedef {{ lines: string[], next_offset: number }} Piece */
/** @typedef {(offset: number, limit: number) => Promise<Piece>} Fetch */

/** The log panel. It lies bottom up (CSS), so that it stays at the end without any measuring. */
export class LogView {
  #buffer = new LogBuffer(MOST_LINES);
  #box = byId("log");
  #lines = byId("log-lines");
  #latest = byId("log-latest");
  #fetch;
  #fetching = false;
  /** @type {string[]} */
  #fresh = [];

  /** @param {{ lines: string[], offset: number }} log as rendered @param {Fetch} fetch */
  constructor(log, fetch) {
    this.#fetch = fetch;
    this.#buffer.reset(log.offset, log.lines);
    this.#repaint();
    this.#latest.addEventListener("click", () => byId("log-end").scrollIntoView({ block: "nearest" }));
    byId("log-earlier").addEventListener("click", () => void this.#earlier());
    const follow = new IntersectionObserver(
      ([entry]) => (this.#latest.hidden = entry.isIntersecting || this.#buffer.end === 0),
      { root: this.#box, rootMargin: "0px 0px 24px 0px" },
    );
    follow.observe(byId("log-end"));
  }

  /** @param {number} offset @param {string[]} lines */
  append(offset, lines) {
    const add = this.#buffer.append(offset, lines);
    if (add === null) void this.catchUp();
    else this.#add(add);
  }

  /** Fetch whatever was missed: after a reconnect, or when a piece did not arrive. */
  async catchUp() {
    if (this.#fetching) return;
    this.#fetching = true;
    try {
      while (await this.#fetchOn());
    } catch (error) {
      console.warn("the log could not be fetched:", /** @type {Error} */ (error).message);
    } finally {
      this.#fetching = false;
    }
  }

  /** @returns {Promise<boolean>} whether there may be more */
  async #fetchOn() {
    const { lines, next_offset } = await this.#fetch(this.#buffer.end, PIECE);
    const offset = next_offset - lines.length;
    const missing = offset - this.#buffer.end;
    if (missing > 0 && lines.length > 0) {
      this.#buffer.skip(offset);
      this.#add([`… ${missing} lines are not kept any more …`]);
    }
    this.#add(this.#buffer.append(offset, lines) ?? []);
    return lines.length > 0;
  }

  /** @param {string[]} lines */
  #add(lines) {
    if (lines.length === 0) return;
    this.#fresh.push(...lines);
    if (this.#fresh.length > MOST_LINES) this.#fresh.splice(0, this.#fresh.length - MOST_LINES);
    nextFrame(this, () => this.#paint());
  }

  async #earlier() {
    const wanted = Math.max(this.#buffer.start - PIECE, 0);
    const { lines, next_offset } = await this.#fetch(wanted, this.#buffer.start - wanted);
    const from = next_offset - lines.length;
    const older = lines.slice(0, Math.max(this.#buffer.start - from, 0));
    this.#lines.prepend(...older.map(lineNode));
    this.#buffer.start = older.length === 0 ? 0 : from;
    byId("log-earlier").hidden = this.#buffer.start === 0;
  }

  #paint() {
    const lines = this.#fresh.splice(0);
    this.#lines.append(...lines.map(lineNode));
    while (this.#lines.childNodes.length > MOST_LINES) this.#lines.firstChild?.remove();
    this.#frame();
  }

  #repaint() {
    this.#lines.replaceChildren(...this.#buffer.lines.map(lineNode));
    this.#frame();
  }

  #frame() {
    byId("log-none").hidden = this.#buffer.end > 0;
    byId("log-earlier").hidden = this.#buffer.start === 0;
  }
}

/** @param {string} line @returns {Text} */
function lineNode(line) {
  return document.createTextNode(`${line}\n`);
}
