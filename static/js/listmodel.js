/** The list's state and its painting: the watched tasks, the counts, the filters. */

import { Chips, activeOf } from "./chips.js";
import { byId } from "./dom.js";
import { ended, words } from "./format.js";
import { nextFrame } from "./frame.js";
import { Rows } from "./rows.js";
import { alertUser, announce, announceFailure } from "./signs.js";
import { Tasks, fitting } from "./state.js";

/** @typedef {import("./types.js").Task} Task */
/** @typedef {import("./types.js").Filters} Filters */
/** @typedef {import("./types.js").Counts} Counts */
/** @typedef {import("./connection.js").Connection} Connection */

const REWATCH_MS = 300;
const FIRST_ROWS = 200;
const MOST_ROWS = 1_000;

/** What the list shows. */
export class ListModel {
  #connection;
  #rows;
  #chips = new Chips(byId("chips"));
  #tasks = new Tasks();
  /** @type {Counts} */
  #counts;
  #next;
  #listUrl;
  #asked = 0;
  #rewatch = 0;
  #ready = false;
  /** @type {Filters} */
  filters;

  /**
   * @param {Connection} connection
   * @param {{ filters: Filters, next: string | null, counts: Counts, list_url: string }} view
   * @param {(id: string) => string} taskUrl
   */
  constructor(connection, view, taskUrl) {
    this.#connection = connection;
    this.#rows = new Rows(byId("tasks"), taskUrl);
    this.filters = view.filters;
    this.#counts = view.counts;
    this.#next = view.next;
    this.#listUrl = view.list_url;
  }

  /** @param {string} id @returns {Task | undefined} */
  get(id) {
    return this.#tasks.get(id);
  }

  /** Ask for the list anew, and for every change from then on. */
  async watch() {
    const asked = (this.#asked += 1);
    const query = { ...this.#query(), limit: FIRST_ROWS };
    const ack = await this.#connection.request("watch_tasks", query);
    const last = ack.next !== undefined || ack.tasks.length < FIRST_ROWS;
    const page = last ? ack : await this.#connection.request("list_tasks", query);
    if (asked !== this.#asked) return;
    this.#tasks.replace(ack.tasks);
    this.#counts = ack.counts;
    this.#next = page.next ?? null;
    this.#ready = true;
    this.#paintSoon();
  }

  /** @param {Filters} filters */
  filter(filters) {
    if (filters.status === this.filters.status && filters.search === this.filters.search) return;
    this.filters = filters;
    const query = new URLSearchParams(this.#query()).toString();
    history.replaceState(null, "", query === "" ? this.#listUrl : `${this.#listUrl}?${query}`);
    this.#chips.show(this.#counts, this.filters.status ?? "");
    if (this.#connection.live) this.watch().catch((error) => alertUser(error.message));
  }

  /** @param {{ tasks: Task[], removed: string[], counts: Counts }} update */
  update({ tasks, removed, counts }) {
    for (const task of tasks) this.#accept(task);
    for (const id of removed) this.#tasks.delete(id);
    this.#counts = counts;
    this.#paintSoon();
  }

  /** @param {Task} update of a task that this page started */
  progress(update) {
    if (this.#tasks.get(update.task_id) === undefined) return;
    this.#accept(update);
    this.#paintSoon();
  }

  /** @param {Task} task a snapshot, or what we believe it will be */
  take(task) {
    this.#tasks.take(task);
    this.#paintSoon();
  }

  async more() {
    try {
      const query = { ...this.#query(), before: this.#next };
      const ack = await this.#connection.request("list_tasks", query);
      for (const task of ack.tasks) this.#tasks.take(task);
      this.#next = ack.next;
      this.#paintSoon();
    } catch (error) {
      alertUser(/** @type {Error} */ (error).message);
    }
  }

  tick() {
    this.#rows.tick();
  }

  /** @param {Task} task */
  #accept(task) {
    const before = this.#tasks.get(task.task_id);
    if (this.#tasks.update(task) === "epoch") {
      clearTimeout(this.#rewatch);
      this.#rewatch = window.setTimeout(() => void this.watch().catch(() => {}), REWATCH_MS);
    } else if (before !== undefined && ended(task) && !ended(before)) {
      const news = `${before.title ?? "A task"}: ${words(task)}`;
      if (task.status === "failed") announceFailure(news);
      else announce(news);
    }
  }

  /** @returns {Record<string, string>} */
  #query() {
    const { status, search } = this.filters;
    return { ...(status ? { status } : {}), ...(search ? { search } : {}) };
  }

  #paintSoon() {
    if (this.#ready) nextFrame(this, () => this.#paint());
    const active = activeOf(this.#counts);
    document.title = active > 0 ? `${active} active · socketprogress` : "socketprogress";
  }

  #paint() {
    if (this.#tasks.trim(MOST_ROWS)) this.#next = null;
    const tasks = fitting(this.#tasks.ordered(), this.filters.status);
    this.#rows.show(tasks);
    const filtered = Boolean(this.filters.status ?? "") || Boolean(this.filters.search ?? "");
    byId("empty").hidden = tasks.length > 0 || filtered;
    byId("nothing").hidden = tasks.length > 0 || !filtered;
    byId("more").hidden = this.#next === null;
    this.#chips.show(this.#counts, this.filters.status ?? "");
  }
}
