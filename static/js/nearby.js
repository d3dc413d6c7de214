/**
 * The rows on the screen are watched one by one, so that they are as quick as a task's own page. If they
 * are many, the list's own news is enough: each update is a message, and thousands a second are work.
 */

import { isStarted } from "./started.js";

/** @typedef {import("./types.js").Task} Task */
/** @typedef {import("./connection.js").Connection} Connection */

const MOST = 40;
const AT_ONCE = 60;
const PAUSE_MS = 200;
const REST_MS = 1_000;

/** Watches the tasks whose rows are on the screen and have not ended, and no others. */
export class Nearby {
  #connection;
  #isActive;
  #take;
  /** @type {Set<string>} */
  #seen = new Set();
  /** @type {Set<string>} */
  #watched = new Set();
  #timer = 0;
  #observer = new IntersectionObserver((entries) => this.#moved(entries), { rootMargin: "64px" });

  /**
   * @param {Connection} connection
   * @param {(id: string) => boolean} isActive whether there is still something to come
   * @param {(task: Task) => void} take takes the snapshot that a watch begins with
   */
  constructor(connection, isActive, take) {
    this.#connection = connection;
    this.#isActive = isActive;
    this.#take = take;
    document.addEventListener("visibilitychange", () => this.settleSoon());
  }

  /** @param {HTMLElement} row */
  add(row) {
    this.#observer.observe(row);
  }

  /** @param {HTMLElement} row */
  remove(row) {
    this.#observer.unobserve(row);
    this.#seen.delete(row.dataset.taskId ?? "");
    this.settleSoon();
  }

  /** @param {string} id @returns {boolean} whether its row is on the screen, or close to it */
  sees(id) {
    return this.#seen.has(id);
  }

  /** The server has forgotten what this page watched. */
  reconnected() {
    this.#watched.clear();
    this.settleSoon();
  }

  /** @param {number} [waitMs] */
  settleSoon(waitMs = PAUSE_MS) {
    if (this.#timer !== 0) return;
    this.#timer = window.setTimeout(() => {
      this.#timer = 0;
      this.#settle();
    }, waitMs);
  }

  /** @param {IntersectionObserverEntry[]} entries */
  #moved(entries) {
    for (const { target, isIntersecting } of entries) {
      const id = /** @type {HTMLElement} */ (target).dataset.taskId ?? "";
      if (isIntersecting) this.#seen.add(id);
      else this.#seen.delete(id);
    }
    this.settleSoon();
  }

  /** Ask for no more at once than a connection may: the rest has its turn a second later. */
  #settle() {
    if (!this.#connection.live) return;
    const near = document.hidden ? [] : [...this.#seen].filter((id) => this.#isActive(id));
    const wanted = new Set(near.length > MOST ? [] : near);
    const old = [...this.#watched].filter((id) => !wanted.has(id) && !isStarted(id));
    const fresh = [...wanted].filter((id) => !this.#watched.has(id));
    for (const id of old.slice(0, AT_ONCE)) this.#unwatch(id);
    for (const id of fresh.slice(0, Math.max(AT_ONCE - old.length, 0))) this.#watch(id);
    if (old.length + fresh.length > AT_ONCE) this.settleSoon(REST_MS);
  }

  /** @param {string} id */
  #watch(id) {
    this.#watched.add(id);
    this.#connection.request("watch_task", id).then(
      (ack) => this.#take(ack.task),
      () => this.#watched.delete(id),
    );
  }

  /** @param {string} id its row lives on with the list's own news */
  #unwatch(id) {
    this.#watched.delete(id);
    this.#connection.request("unwatch_task", id).catch(() => {});
  }
}
