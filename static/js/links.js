/** The connections of a page's `<task-progress>` elements: one for each server and token. */

import { Connection } from "./connection.js";
import { Tasks } from "./state.js";

/** @typedef {import("./types.js").Task} Task */
/** @typedef {import("./connection.js").Sign | "connecting"} Sign */
/**
 * What an element is told.
 * @typedef {object} Watcher
 * @property {(task: Task, aheadS: number) => void} state the task's newest state, and by how much
 *   the server's clock is ahead
 * @property {(sign: Sign, message: string) => void} sign how the connection is
 * @property {(message: string) => void} unknown there is no such task for this page
 */

const LINGER_MS = 500;
const AGAIN_MS = 5_000;
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 15_000;

/** @type {Map<string, Link>} */
const links = new Map();

/**
 * Watch a task over the connection that all share who have the same server and token.
 * @param {string} src the server's base URL
 * @param {string} token
 * @param {string} taskId
 * @param {Watcher} watcher
 * @returns {() => void} what ends it
 */
export function join(src, token, taskId, watcher) {
  const key = `${src}\n${token}`;
  let link = links.get(key);
  if (link === undefined) {
    link = new Link(src, token, () => links.delete(key));
    links.set(key, link);
  }
  return link.join(taskId, watcher);
}

/** One server as one token shows it. */
class Link {
  /** @type {Map<string, Set<Watcher>>} */
  #watchers = new Map();
  #tasks = new Tasks();
  /** @type {Connection | null} */
  #connection = null;
  /** @type {[Sign, string]} */
  #sign = ["connecting", ""];
  #leaving = 0;
  #closed = false;
  #aheadS = 0;
  #src;
  #token;
  #onClose;

  /** @param {string} src @param {string} token @param {() => void} onClose */
  constructor(src, token, onClose) {
    this.#src = src;
    this.#token = token;
    this.#onClose = onClose;
    void this.#open();
  }

  /** @param {string} taskId @param {Watcher} watcher @returns {() => void} */
  join(taskId, watcher) {
    clearTimeout(this.#leaving);
    const known = this.#watchers.get(taskId);
    if (known === undefined) this.#watchers.set(taskId, new Set([watcher]));
    else known.add(watcher);
    watcher.sign(...this.#sign);
    const task = this.#tasks.get(taskId);
    if (task !== undefined) watcher.state(task, this.#aheadS);
    else if (known === undefined && this.#connection?.live) void this.#watch(taskId);
    return () => this.#leave(taskId, watcher);
  }

  /** @param {string} taskId @param {Watcher} watcher */
  #leave(taskId, watcher) {
    const watchers = this.#watchers.get(taskId);
    watchers?.delete(watcher);
    if (watchers?.size !== 0) return;
    this.#watchers.delete(taskId);
    this.#tasks.delete(taskId);
    if (this.#connection?.live) {
      this.#connection.request("unwatch_task", taskId).catch(() => {});
    }
    // An element that is only moved in its page comes back at once.
    clearTimeout(this.#leaving);
    if (this.#watchers.size === 0) this.#leaving = window.setTimeout(() => this.#close(), LINGER_MS);
  }

  #close() {
    this.#closed = true;
    this.#connection?.close();
    this.#onClose();
  }

  async #open() {
    let waitMs = FIRST_WAIT_MS;
    while (!this.#closed) {
      try {
        const page = await this.#find();
        if (!this.#closed) this.#connect(page);
        return;
      } catch {
        this.#show("reconnecting", `Disconnected: ${host(this.#src)} does not answer. Trying again…`);
      }
      await new Promise((later) => setTimeout(later, waitMs));
      waitMs = Math.min(waitMs * 2, LONGEST_WAIT_MS);
    }
  }

  /** @returns {Promise<{ namespace: string, socket_path: string, now: number }>} */
  async #find() {
    const answer = await fetch(new URL("api/connection", this.#src), { credentials: "omit" });
    if (!answer.ok) throw new Error(`${answer.status}`);
    const page = await answer.json();
    this.#aheadS = page.now - Date.now() / 1000;
    return page;
  }

  /** @param {{ namespace: string, socket_path: string }} page */
  #connect(page) {
    const to = { origin: new URL(this.#src).origin, token: this.#token };
    const connection = new Connection(page, (sign, message) => this.#show(sign, message), to);
    this.#connection = connection;
    connection.on("progress_update", (update) => {
      if (!this.#watchers.has(update.task_id)) return;
      const outcome = this.#tasks.update(update);
      if (outcome === "epoch") void this.#watch(update.task_id);
      else if (outcome === "taken") this.#tell(update.task_id);
    });
    connection.watch(async () => {
      for (const taskId of this.#watchers.keys()) void this.#watch(taskId);
    });
    connection.open();
  }

  /** @param {string} taskId watch it, and again for as long as it is not there */
  async #watch(taskId) {
    const known = this.#tasks.get(taskId);
    const since = known === undefined ? {} : { epoch: known.epoch, seq: known.seq };
    try {
      const ack = await this.#connection?.request("watch_task", { task_id: taskId, ...since });
      if (ack === undefined || !this.#watchers.has(taskId)) return;
      this.#tasks.take(ack.task);
      this.#tell(taskId);
    } catch (error) {
      const { code, message } = /** @type {import("./connection.js").RequestError} */ (error);
      if (code === "offline") return; // the next connection watches again
      if (code === "unknown_task" || code === "invalid_payload") {
        this.#tasks.delete(taskId);
        for (const watcher of this.#watchers.get(taskId) ?? []) watcher.unknown(message);
      }
      setTimeout(() => {
        if (this.#watchers.has(taskId) && this.#connection?.live) void this.#watch(taskId);
      }, AGAIN_MS);
    }
  }

  /** @param {string} taskId */
  #tell(taskId) {
    const task = this.#tasks.get(taskId);
    if (task === undefined) return;
    for (const watcher of this.#watchers.get(taskId) ?? []) watcher.state(task, this.#aheadS);
  }

  /** @param {Sign} sign @param {string} message */
  #show(sign, message) {
    this.#sign = [sign, message];
    for (const watchers of this.#watchers.values()) {
      for (const watcher of watchers) watcher.sign(sign, message);
    }
  }
}

/** @param {string} src @returns {string} */
function host(src) {
  return new URL(src).host;
}
