/** A minute of a rate as the paths of a small drawing. Pure. */

export const SPAN_S = 60;
export const HEIGHT = 24;
const EVERY_S = 0.9;
const GAP_S = 2.5;
const TOP = 2;

/** @typedef {{ at: number, rate: number }} Sample */

/** The rates of the last minute, one a second. */
export class Series {
  /** @type {Sample[]} */
  #samples = [];

  /** @param {number} at seconds @param {number | null} rate null: unknown, a gap */
  add(at, rate) {
    const last = this.#samples.at(-1);
    if (last !== undefined && at - last.at < EVERY_S) return;
    while (this.#samples.length > 0 && at - this.#samples[0].at > SPAN_S) this.#samples.shift();
    if (rate !== null) this.#samples.push({ at, rate });
  }

  /** @returns {number} the highest rate in it, 0 when there is none */
  get peak() {
    return this.#samples.reduce((most, { rate }) => Math.max(most, rate), 0);
  }

  /**
   * @param {number} now seconds, at the right edge
   * @returns {{ line: string, area: string }} two paths; "" until there is something to see
   */
  paths(now) {
    const peak = this.peak;
    const runs = peak === 0 ? [] : this.#runs().filter((run) => run.length > 1);
    const lines = runs.map((run) => run.map((sample) => point(sample, now, peak)).join("L"));
    const area = runs.map((run, place) => {
      const [from, to] = [x(run[0].at, now), x(run[run.length - 1].at, now)];
      return `M${from} ${HEIGHT}L${lines[place]}L${to} ${HEIGHT}Z`;
    });
    return { line: lines.map((line) => `M${line}`).join(""), area: area.join("") };
  }

  /** @returns {Sample[][]} without the gaps between them */
  #runs() {
    /** @type {Sample[][]} */
    const runs = [];
    let last = -Infinity;
    for (const sample of this.#samples) {
      if (sample.at - last > GAP_S) runs.push([]);
      runs[runs.length - 1].push(sample);
      last = sample.at;
    }
    return runs;
  }
}

/** @param {number} at @param {number} now @returns {number} */
function x(at, now) {
  return Math.round((SPAN_S - (now - at)) * 10) / 10;
}

/** @param {Sample} sample @param {number} now @param {number} peak @returns {string} */
function point({ at, rate }, now, peak) {
  const y = HEIGHT - (rate / peak) * (HEIGHT - TOP);
  return `${x(at, now)} ${Math.round(y * 10) / 10}`;
}
