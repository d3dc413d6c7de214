/** The list's rows, one for each task, kept in order by key. */

import { fromTemplate } from "./dom.js";
import { TaskView } from "./taskview.js";

/** @typedef {import("./types.js").Task} Task */

const MANY = 40;

/** The `<ul>` of tasks. */
export class Rows {
  #list;
  #taskUrl;
  /** @type {Map<string, TaskView>} */
  #views = new Map();

  /**
   * @param {HTMLElement} list with the rows that the server rendered
   * @param {(id: string) => string} taskUrl
   */
  constructor(list, taskUrl) {
    this.#list = list;
    this.#taskUrl = taskUrl;
    for (const root of /** @type {Iterable<HTMLElement>} */ (list.children)) {
      this.#views.set(root.dataset.taskId ?? "", new TaskView(root));
    }
  }

  /** @param {Task[]} tasks all that are to be seen, in order */
  show(tasks) {
    const focused = document.activeElement;
    const ids = new Set(tasks.map((task) => task.task_id));
    for (const [id, view] of this.#views) {
      if (ids.has(id)) continue;
      view.root.remove();
      this.#views.delete(id);
    }
    let place = this.#list.firstElementChild;
    for (const task of tasks) {
      const view = this.#viewOf(task);
      view.show(task);
      if (view.root === place) place = place.nextElementSibling;
      else this.#list.insertBefore(view.root, place);
    }
    this.#list.toggleAttribute("data-many", tasks.length > MANY);
    if (focused instanceof HTMLElement && focused !== document.activeElement) {
      if (this.#list.contains(focused)) focused.focus({ preventScroll: true });
    }
  }

  tick() {
    for (const view of this.#views.values()) view.tick();
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
    const view = new TaskView(root);
    this.#views.set(task.task_id, view);
    return view;
  }
}
