/** The tail of a log, put together from pieces that overlap or leave gaps. Pure. */

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

  /**
   * Go on at a later place, since what lies between is not kept any more.
   * @param {number} offset
   */
  skip(offset) {
    this.reset(Math.max(offset, this.end), []);
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
   * @returns {string[] | null} those that are new at the end, or null: some before are missing
   */
  append(offset, lines) {
    if (offset > this.end) return null;
    const add = lines.slice(this.end - offset);
    this.#lines.push(...add);
    this.end += add.length;
    if (this.#lines.length > this.#limit) this.#lines.splice(0, this.#lines.length - this.#limit);
    this.start = this.end - this.#lines.length;
    return add;
  }
}
