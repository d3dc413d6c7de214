/** The tail of a log, put together from pieces that overlap or leave gaps. Pure. */

/** @typedef {{ add: string[], gap: [number, number] | null }} LogChange */

/** Keeps the newest lines; `start` and `end` are line numbers, `end` the next one expected. */
export class LogBuffer {
  /** @type {string[]} */
  #lines = [];
  #limit;
  start = 0;
  end = 0;

  /** @param {number} limit the most lines kept */
  constructor(limit) {
    this.#limit = limit;
  }

  /** @returns {readonly string[]} */
  get lines() {
    return this.#lines;
  }

  /** @param {number} offset @param {string[]} lines start again with these */
  reset(offset, lines) {
    this.#lines = lines.slice(-this.#limit);
    this.end = offset + lines.length;
    this.start = this.end - this.#lines.length;
  }

  /**
   * Add lines at a place.
   * @param {number} offset the number of the first of them
   * @param {string[]} lines
   * @returns {LogChange} the lines that are new at the end, or the gap to be fetched first
   */
  append(offset, lines) {
    if (offset > this.end) return { add: [], gap: [this.end, offset] };
    const add = lines.slice(this.end - offset);
    this.#lines.push(...add);
    this.end += add.length;
    if (this.#lines.length > this.#limit) this.#lines.splice(0, this.#lines.length - this.#limit);
    this.start = this.end - this.#lines.length;
    return { add, gap: null };
  }
}
