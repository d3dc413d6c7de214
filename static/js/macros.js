/**
 * Keeps the tasks of an application's own page live. Each `[data-socketprogress]` is a task, and
 * gets a `socketprogress` event with the task as its `detail` whenever its state is a new one.
 */

import { BootstrapView } from "./bootstrapview.js";
import { Connection } from "./connection.js";
import { data } from "./dom.js";
import { nextFrame, slowly } from "./frame.js";
import { Tasks } from "./state.js";
import { TaskView } from "./taskview.js";

/** @typedef {import("./types.js").Task} Task */
/** @typedef {TaskView | BootstrapView} View */

/** @type {Map<string, { root: HTMLElement, view: View }[]>} */
const places = new Map();
for (const root of /** @type {NodeListOf<HTMLElement>} */ (
  document.querySelectorAll("[data-socketprogress]")
)) {
  const id = root.dataset.socketprogress ?? "";
  const view = root.dataset.look === "bootstrap" ? new BootstrapView(root) : new TaskView(root);
  places.set(id, [...(places.get(id) ?? []), { root, view }]);
}

const connection = new Connection(data("socketprogress-page"), (sign) => {
  for (const { root } of [...places.values()].flat()) {
    root.toggleAttribute("data-offline", sign !== "live");
  }
});
const tasks = new Tasks();

/** @param {string} id */
async function watch(id) {
  const ack = await connection.request("watch_task", { task_id: id });
  tasks.take(ack.task);
  changed(id);
}

/** @param {string} id */
function changed(id) {
  const task = tasks.get(id);
  if (task === undefined) return;
  for (const { root, view } of places.get(id) ?? []) {
    nextFrame(view, () => view.show(task));
    root.dispatchEvent(new CustomEvent("socketprogress", { bubbles: true, detail: task }));
  }
}

connection.on("progress_update", (/** @type {Task} */ update) => {
  if (!places.has(update.task_id)) return;
  const outcome = tasks.update(update);
  if (outcome === "epoch") void watch(update.task_id).catch(() => {});
  else if (outcome === "taken") changed(update.task_id);
});
for (const id of places.keys()) connection.watch(() => watch(id));
slowly(() => {
  for (const { view } of [...places.values()].flat()) view.tick();
});
if (places.size > 0) connection.open();
