/** The log of a task's page: its newest lines, followed unless the reader has scrolled up. */

import { byId } from "./dom.js";
import { nextFrame } from "./frame.js";
import { LogBuffer } from "./logbuffer.js";

const MOST_LINES = 2_000;
const PIECE = 1_000;
const LEAST_BYTES = 1_500;
const MOST_BYTES = 64_000;
const QUICK_MS = 400;
const SLOW_MS = 1_500;

/** @typedef {{ lines: string[], next_offset: number }} Piece */
/** @typedef {(offset: number, limit: number, bytes: number) => Promise<Piece>} Fetch */

/** The log panel. It lies bottom up (CSS), so that it stays at the end without any measuring. */
export class LogView {
  #buffer = new LogBuffer(MOST_LINES);
  #box = byId("log");
  #lines = byId("log-lines");
  #latest = byId("log-latest");
  #fetch;
  #fetching = false;
  #bytes = LEAST_BYTES;
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

  /** @returns {readonly string[]} the newest lines */
  get lines() {
    return this.#buffer.lines;
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

  /**
   * Fetch a piece that the connection carries in a moment: a large one would hold up the progress.
   * @param {number} offset @param {number} limit @returns {Promise<Piece>}
   */
  async #piece(offset, limit) {
    const asked = performance.now();
    const piece = await this.#fetch(offset, limit, this.#bytes);
    const tookMs = performance.now() - asked;
    const times = tookMs < QUICK_MS ? 2 : tookMs > SLOW_MS ? 0.5 : 1;
    this.#bytes = Math.min(Math.max(this.#bytes * times, LEAST_BYTES), MOST_BYTES);
    return piece;
  }

  /** @returns {Promise<boolean>} whether there may be more */
  async #fetchOn() {
    const { lines, next_offset } = await this.#piece(this.#buffer.end, PIECE);
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
    const { start } = this.#buffer;
    /** @type {string[]} */
    const older = [];
    let from = Math.max(start - PIECE, 0);
    for (let at = from; at < start; ) {
      const { lines, next_offset } = await this.#piece(at, start - at);
      if (lines.length === 0) break;
      if (older.length === 0) from = next_offset - lines.length;
      older.push(...lines.slice(0, Math.max(start - next_offset + lines.length, 0)));
      at = next_offset;
    }
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
