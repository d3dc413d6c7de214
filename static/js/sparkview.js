/** The rate of the last minute, drawn below a task's bar while it runs. */

import { Writer, byId } from "./dom.js";
import { rate } from "./format.js";
import { serverNow } from "./servertime.js";
import { Series } from "./spark.js";
import { credible } from "./state.js";

/** @typedef {import("./types.js").Task} Task */

/** The drawing; its attributes are written, its size is never read. */
export class SparkView {
  #series = new Series();
  #writer = new Writer();
  #figure = byId("spark");
  #line = byId("spark-line");
  #area = byId("spark-area");
  #label = byId("spark-label");

  /** @param {Task | undefined} task its newest state; called a few times a second */
  tick(task) {
    if (task?.status !== "in_progress") return;
    const now = serverNow();
    const known = task.rate ?? null;
    this.#series.add(now, known === null ? null : (credible(task, now).rate ?? 0));
    const { line, area } = this.#series.paths(now);
    this.#writer.flag(this.#figure, "data-drawn", line !== "");
    if (line === "") return;
    this.#writer.attribute(this.#line, "d", line);
    this.#writer.attribute(this.#area, "d", area);
    const peak = rate({ ...task, rate: this.#series.peak });
    this.#writer.text(this.#label, `Last 60 s, up to ${peak}`);
  }
}
