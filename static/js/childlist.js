/** The tasks that belong to a task, below it on its page. */

import { byId } from "./dom.js";
import { nextFrame } from "./frame.js";
import { Rows } from "./rows.js";
import { Tasks } from "./state.js";

/** @typedef {import("./types.js").Task} Task */
/** @typedef {import("./connection.js").Connection} Connection */

const MOST = 200;

/** The rows of a task's children. */
export class ChildList {
  #connection;
  #parentId;
  #tasks = new Tasks();
  #rows;

  /**
   * @param {Connection} connection
   * @param {string} parentId
   * @param {(id: string) => string} taskUrl
   */
  constructor(connection, parentId, taskUrl) {
    this.#connection = connection;
    this.#parentId = parentId;
    this.#rows = new Rows(byId("children-list"), taskUrl);
    connection.on("tasks_update", ({ tasks, removed }) => this.#update(tasks, removed));
    connection.watch(() => this.#watch());
  }

  /** @param {string} id @returns {Task | undefined} */
  get(id) {
    return this.#tasks.get(id);
  }

  /** @param {Task} task a snapshot, or what we believe it will be */
  take(task) {
    this.#tasks.take(task);
    this.#paintSoon();
  }

  tick() {
    this.#rows.tick();
  }

  async #watch() {
    const query = { parent_id: this.#parentId, limit: MOST };
    const ack = await this.#connection.request("watch_tasks", query);
    this.#tasks.replace(ack.tasks);
    this.#paintSoon();
  }

  /** @param {Task[]} tasks @param {string[]} removed */
  #update(tasks, removed) {
    const outcomes = tasks.map((task) => this.#tasks.update(task));
    if (outcomes.includes("epoch")) void this.#watch().catch(() => {});
    for (const id of removed) this.#tasks.delete(id);
    this.#paintSoon();
  }

  #paintSoon() {
    nextFrame(this, () => {
      this.#tasks.trim(MOST);
      const tasks = this.#tasks.ordered();
      byId("children").hidden = tasks.length === 0;
      this.#rows.show(tasks);
    });
  }
}
