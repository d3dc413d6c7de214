/** A list's rows, one for each task, kept in order by key. */

import { fromTemplate } from "./dom.js";
import { TaskView } from "./taskview.js";

/** @typedef {import("./types.js").Task} Task */
/** @typedef {import("./nearby.js").Nearby} Nearby */

const MANY = 40;
const TICKS = 5;
const TEXT_MS = 200;

/** @param {number} rows @returns {number} how old a row's texts may be until its own tick */
const textMsAmong = (rows) => (rows > MANY ? Infinity : TEXT_MS);

/** The `<ul>` of tasks. */
export class Rows {
  #list;
  #taskUrl;
  #nearby;
  #ticks = 0;
  /** @type {Map<string, TaskView>} */
  #views = new Map();

  /**
   * @param {HTMLElement} list with the rows that the server rendered
   * @param {(id: string) => string} taskUrl
   * @param {Nearby | null} [nearby] is told which rows there are
   */
  constructor(list, taskUrl, nearby = null) {
    this.#list = list;
    this.#taskUrl = taskUrl;
    this.#nearby = nearby;
    for (const root of /** @type {Iterable<HTMLElement>} */ (list.children)) {
      this.#add(root.dataset.taskId ?? "", root);
    }
  }

  /** @returns {string[]} the ids as they stand */
  get order() {
    return Array.from(this.#list.children, (root) => {
      return /** @type {HTMLElement} */ (root).dataset.taskId ?? "";
    });
  }

  /** @param {Task[]} tasks all that are to be seen, in order */
  show(tasks) {
    const focused = document.activeElement;
    this.#leave(new Set(tasks.map((task) => task.task_id)));
    let place = this.#list.firstElementChild;
    const textMs = textMsAmong(tasks.length);
    for (const task of tasks) {
      const view = this.#viewOf(task);
      view.show(task, textMs);
      if (view.root === place) place = place.nextElementSibling;
      else this.#list.insertBefore(view.root, place);
    }
    this.#list.toggleAttribute("data-many", tasks.length > MANY);
    if (focused instanceof HTMLElement && focused !== document.activeElement) {
      if (this.#list.contains(focused)) focused.focus({ preventScroll: true });
    }
  }

  /** @param {Task} task paint it where it stands, if it is there */
  update(task) {
    this.#views.get(task.task_id)?.show(task, textMsAmong(this.#views.size));
  }

  /** One row in five has its tick at a time: the work of many rows is spread over frames. */
  tick() {
    this.#ticks += 1;
    let place = this.#ticks;
    for (const view of this.#views.values()) {
      if (place++ % TICKS === 0) view.tick();
    }
  }

  /** @param {Set<string>} staying */
  #leave(staying) {
    for (const [id, view] of this.#views) {
      if (staying.has(id)) continue;
      this.#nearby?.remove(view.root);
      view.root.remove();
      this.#views.delete(id);
    }
  }

  /** @param {Task} task @returns {TaskView} */
  #viewOf(task) {
    const have = this.#views.get(task.task_id);
    if (have !== undefined) return have;
    const root = fromTemplate("row-template");
    root.dataset.taskId = task.task_id;
    const title = root.querySelector('[data-part="title"]');
    const id = `title-${task.task_id}`;
    title?.setAttribute("id", id);
    title?.setAttribute("href", this.#taskUrl(task.task_id));
    root.querySelector('[role="progressbar"]')?.setAttribute("aria-labelledby", id);
    for (const button of root.querySelectorAll("button")) {
      button.setAttribute("aria-describedby", id);
    }
    return this.#add(task.task_id, root);
  }

  /** @param {string} id @param {HTMLElement} root @returns {TaskView} */
  #add(id, root) {
    const view = new TaskView(root);
    this.#views.set(id, view);
    this.#nearby?.add(root);
    return view;
  }
}
