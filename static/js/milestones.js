/** What is worth saying aloud of a task's way: quarters, seldom; its end, always. Pure. */

import { ended, timeLeft, words } from "./format.js";

/** @typedef {import("./types.js").Task} Task */

const QUARTER_GAP_MS = 10_000;

/** Follows one task. */
export class Milestones {
  #quarter;
  #over;
  #saidAt = -Infinity;

  /** @param {Pick<Task, "status" | "progress">} task as first shown: nothing of that is news */
  constructor(task) {
    this.#quarter = quarter(task);
    this.#over = ended(task);
  }

  /**
   * @param {Task} task
   * @param {number} nowMs
   * @returns {string | null} a sentence, or null when there is nothing new to say
   */
  next(task, nowMs) {
    if (ended(task)) {
      const news = this.#over ? null : `${task.title ?? "The task"}: ${words(task)}`;
      this.#over = true;
      return news;
    }
    this.#over = false;
    const reached = quarter(task);
    if (reached < this.#quarter) this.#quarter = reached;
    if (reached <= this.#quarter || nowMs - this.#saidAt < QUARTER_GAP_MS) return null;
    this.#quarter = reached;
    this.#saidAt = nowMs;
    return [`${reached * 25}%`, timeLeft(task)].filter((part) => part !== "").join(", ");
  }
}

/** @param {Pick<Task, "progress">} task @returns {number} full quarters, 0 to 3 */
function quarter(task) {
  return Math.min(Math.floor((task.progress ?? 0) / 25), 3);
}
