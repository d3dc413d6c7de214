/** What the page knows of tasks: newer replaces older, whatever order it comes in. Pure. */

import { ended } from "./format.js";

/** @typedef {import("./types.js").Task} Task */
/** @typedef {import("./types.js").Counts} Counts */
/** @typedef {"taken" | "stale" | "epoch"} Outcome "epoch": the count began anew, watch again */

const STILL_S = 5;
const STILL_UNITS = 3;

/** The tasks by id, each at its newest state. */
export class Tasks {
  /** @type {Map<string, Task>} */
  #byId = new Map();

  /** @param {string} id @returns {Task | undefined} */
  get(id) {
    return this.#byId.get(id);
  }

  /** @returns {number} */
  get size() {
    return this.#byId.size;
  }

  /** @param {string} id */
  delete(id) {
    this.#byId.delete(id);
  }

  /**
   * Take an update: complete in what it holds, nothing said of the rest.
   * @param {Task} update
   * @returns {Outcome}
   */
  update(update) {
    const have = this.#byId.get(update.task_id);
    if (have !== undefined) {
      if (have.epoch !== update.epoch) return "epoch";
      if (update.seq <= have.seq) return "stale";
    }
    this.#byId.set(update.task_id, { ...have, ...update });
    return "taken";
  }

  /**
   * Take a snapshot or a summary that was asked for. It starts a new epoch; of the same epoch it
   * only adds what an update that overtook it does not hold.
   * @param {Task} snapshot
   */
  take(snapshot) {
    const have = this.#byId.get(snapshot.task_id);
    const overtaken =
      have !== undefined && have.epoch === snapshot.epoch && have.seq > snapshot.seq;
    this.#byId.set(snapshot.task_id, overtaken ? { ...snapshot, ...have } : snapshot);
  }

  /**
   * Take the answer to a list's watch whole: what is not in it is gone.
   * @param {Task[]} tasks
   */
  replace(tasks) {
    const before = this.#byId;
    this.#byId = new Map();
    for (const task of tasks) {
      const have = before.get(task.task_id);
      if (have !== undefined) this.#byId.set(task.task_id, have);
      this.take(task);
    }
  }

  /**
   * Forget the last in order beyond a number: ended ones, unless that many are active.
   * @param {number} most
   * @returns {boolean} whether there were any
   */
  trim(most) {
    if (this.#byId.size <= most) return false;
    for (const task of this.ordered().slice(most)) this.#byId.delete(task.task_id);
    return true;
  }

  /** @returns {Task[]} active before ended, newest first; what has no date yet is newest */
  ordered() {
    return [...this.#byId.values()].sort(compare);
  }
}

/** @param {Task} a @param {Task} b @returns {number} */
function compare(a, b) {
  const byEnd = Number(ended(a)) - Number(ended(b));
  if (byEnd !== 0) return byEnd;
  const byAge = (b.created_at ?? Infinity) - (a.created_at ?? Infinity);
  if (byAge < 0 || byAge > 0) return byAge;
  return a.task_id < b.task_id ? 1 : -1;
}

/**
 * @param {Task} task
 * @param {number} now the server's time
 * @returns {number} seconds since there was any news of the task
 */
export function silence(task, now) {
  return Math.max(now - (task.updated_at ?? now), 0);
}

/**
 * Say how long a task has run, between updates too.
 * @param {Task} task
 * @param {number} now the server's time
 * @returns {number | null} seconds
 */
export function elapsed(task, now) {
  const known = task.elapsed_s ?? null;
  return known === null || task.status !== "in_progress" ? known : known + silence(task, now);
}

/**
 * Say what of a task still holds: the time left has shrunk since the last update, and without
 * counts that go on as its rate allows for, there is neither rate nor time left. How long such
 * tasks usually take holds all the same.
 * @param {Task} task
 * @param {number} now the server's time
 * @returns {Task}
 */
export function credible(task, now) {
  const passed = silence(task, now);
  const still = passed > Math.max(STILL_S, STILL_UNITS / (task.rate ?? 0));
  const rate = still ? null : task.rate;
  const elapsed_s = elapsed(task, now);
  const over = (task.eta_high_s ?? Infinity) < passed;
  if (over || (still && task.progress !== null)) {
    return { ...task, rate, elapsed_s, eta_s: null, eta_low_s: null, eta_high_s: null };
  }
  return {
    ...task,
    rate,
    elapsed_s,
    eta_s: less(task.eta_s, passed),
    eta_low_s: less(task.eta_low_s, passed),
    eta_high_s: less(task.eta_high_s, passed),
  };
}

/** @param {number | null | undefined} seconds @param {number} passed @returns {number | null} */
function less(seconds, passed) {
  return seconds === null || seconds === undefined ? null : Math.max(seconds - passed, 0);
}

/**
 * Keep only what a status filter lets through.
 * @param {Task[]} tasks
 * @param {string | null | undefined} status
 * @returns {Task[]}
 */
export function fitting(tasks, status) {
  return status ? tasks.filter((task) => task.status === status) : tasks;
}
