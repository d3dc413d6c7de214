/** The list's state and its painting: the watched tasks, the counts, the filters. */

import { setFavicon, setTitle } from "./attention.js";
import { Chips, activeOf } from "./chips.js";
import { byId } from "./dom.js";
import { ended } from "./format.js";
import { nextFrame } from "./frame.js";
import { Hold } from "./hold.js";
import { Nearby } from "./nearby.js";
import { steady } from "./order.js";
import { Rows } from "./rows.js";
import { alertUser } from "./signs.js";
import { Tasks, fitting } from "./state.js";

/** @typedef {import("./types.js").Task} Task */
/** @typedef {import("./types.js").Filters} Filters */
/** @typedef {import("./types.js").Counts} Counts */
/** @typedef {import("./connection.js").Connection} Connection */

const REWATCH_MS = 300;
const FIRST_ROWS = 200;
const MOST_ROWS = 3_000;
const ROWS_A_FRAME = 100;

/**
 * @typedef {object} View
 * @property {Filters} filters
 * @property {string | null} next
 * @property {Counts} counts
 * @property {string} list_url
 */

/** What the list shows. */
export class ListModel {
  #connection;
  #rows;
  #nearby;
  #hold = new Hold(byId("tasks"));
  #chips = new Chips(byId("chips"));
  #tasks = new Tasks();
  /** @type {Set<string>} whose rows are to be painted anew */
  #changed = new Set();
  #rearranged = true;
  #held = false;
  #counts;
  #next;
  #listUrl;
  #asked = 0;
  #rewatch = 0;
  #ready = false;
  #onEnd;
  filters;

  /**
   * @param {Connection} connection
   * @param {View} view as rendered
   * @param {(id: string) => string} taskUrl
   * @param {(task: Task) => void} onEnd told of each end that this page sees
   */
  constructor(connection, view, taskUrl, onEnd) {
    this.#connection = connection;
    this.#onEnd = onEnd;
    this.#nearby = new Nearby(
      connection,
      (id) => this.#isActive(id),
      (task) => this.take(task),
    );
    this.#rows = new Rows(byId("tasks"), taskUrl, this.#nearby);
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
    this.#nearby.reconnected();
    this.#arrangeSoon();
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
    if (removed.length > 0) this.#rearranged = true;
    this.#counts = counts;
    this.#paintSoon();
    this.#showActive();
  }

  /** @param {Task} update of a task that is on the screen, or that this page started */
  progress(update) {
    if (this.#tasks.get(update.task_id) === undefined) return;
    this.#accept(update);
    this.#paintSoon();
  }

  /** @param {Task} task a snapshot, or what we believe it will be */
  take(task) {
    this.#note(task.task_id, () => this.#tasks.take(task));
    this.#paintSoon();
  }

  async more() {
    try {
      const query = { ...this.#query(), before: this.#next };
      const ack = await this.#connection.request("list_tasks", query);
      for (const task of ack.tasks) this.#tasks.take(task);
      this.#next = ack.next;
      this.#arrangeSoon();
    } catch (error) {
      alertUser(/** @type {Error} */ (error).message);
    }
  }

  tick() {
    this.#rows.tick();
    if (this.#held && !this.#hold.on) this.#arrangeSoon();
  }

  /** @param {Task} task */
  #accept(task) {
    const before = this.#tasks.get(task.task_id);
    const outcome = this.#note(task.task_id, () => this.#tasks.update(task));
    if (outcome === "epoch") {
      clearTimeout(this.#rewatch);
      this.#rewatch = window.setTimeout(() => void this.watch().catch(() => {}), REWATCH_MS);
    } else if (before !== undefined && ended(task) && !ended(before)) {
      this.#onEnd({ ...before, ...task });
    }
  }

  /**
   * @template Result
   * @param {string} id
   * @param {() => Result} change its state
   * @returns {Result}
   */
  #note(id, change) {
    const before = this.#tasks.get(id);
    const result = change();
    const after = this.#tasks.get(id);
    this.#changed.add(id);
    if (before?.status !== after?.status || before?.created_at !== after?.created_at) {
      this.#rearranged = true;
    }
    return result;
  }

  /** @param {string} id @returns {boolean} */
  #isActive(id) {
    const task = this.#tasks.get(id);
    return task !== undefined && !ended(task);
  }

  /** @returns {Record<string, string>} */
  #query() {
    const { status, search } = this.filters;
    return { ...(status ? { status } : {}), ...(search ? { search } : {}) };
  }

  #arrangeSoon() {
    this.#rearranged = true;
    this.#paintSoon();
    this.#showActive();
  }

  #showActive() {
    const active = activeOf(this.#counts);
    setTitle(active > 0 ? `${active} active · socketprogress` : "socketprogress");
    setFavicon(active > 0 ? "active" : "idle");
  }

  #paintSoon() {
    if (this.#ready) nextFrame(this, () => this.#paint());
  }

  #paint() {
    if (this.#rearranged) this.#arrange();
    else this.#update();
    this.#chips.show(this.#counts, this.filters.status ?? "");
  }

  /**
   * Paint the rows that changed, the rest of very many in the next frame. Those that nobody sees are
   * counted for themselves: they keep none waiting that is on the screen.
   */
  #update() {
    const left = { seen: ROWS_A_FRAME, unseen: ROWS_A_FRAME };
    for (const id of this.#changed) {
      if (left[this.#nearby.sees(id) ? "seen" : "unseen"]-- <= 0) continue;
      const task = this.#tasks.get(id);
      if (task !== undefined) this.#rows.update(task);
      this.#changed.delete(id);
    }
    if (this.#changed.size > 0) this.#paintSoon();
  }

  #arrange() {
    this.#rearranged = false;
    this.#changed.clear();
    this.#held = this.#hold.on;
    if (this.#tasks.trim(MOST_ROWS)) this.#next = null;
    const fit = fitting(this.#tasks.ordered(), this.filters.status);
    const tasks = this.#held ? steady(this.#rows.order, fit) : fit;
    this.#rows.show(tasks);
    this.#nearby.settleSoon();
    const filtered = Boolean(this.filters.status ?? "") || Boolean(this.filters.search ?? "");
    byId("empty").hidden = tasks.length > 0 || filtered;
    byId("nothing").hidden = tasks.length > 0 || !filtered;
    byId("more").hidden = this.#next === null;
  }
}
