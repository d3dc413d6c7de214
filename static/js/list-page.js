/** The live list. */

import { enableActions } from "./actions.js";
import { Connection } from "./connection.js";
import { byId, data } from "./dom.js";
import { tellEnd } from "./endnews.js";
import { slowly } from "./frame.js";
import { enableKeys, pressCancel } from "./keys.js";
import { ListModel } from "./listmodel.js";
import { enableNotifying, notifyEnd } from "./notify.js";
import { announce, enableCopying, showConnection } from "./signs.js";
import { enableStart } from "./startform.js";
import { followStarted, noteStarted } from "./started.js";
import { toastEnd } from "./toasts.js";
import { enableUpload } from "./uploadform.js";

const SEARCH_PAUSE_MS = 250;
const TICK_MS = 100;

const page = data("page");
const view = data("view");
const connection = new Connection(page, showConnection);
const list = byId("tasks");

/** @param {string} id @returns {string} */
const taskUrl = (id) => view.task_url.replace("__id__", encodeURIComponent(id));
const model = new ListModel(connection, view, taskUrl, (task) => {
  tellEnd(task);
  notifyEnd(task);
});

connection.on("tasks_update", (update) => model.update(update));
connection.on("progress_update", (update) => model.progress(update));
connection.watch(() => model.watch());
followStarted(connection, (task) => toastEnd(task, taskUrl(task.task_id)));
slowly(() => model.tick(), TICK_MS);

enableActions(list, connection, {
  taskOf: (id) => model.get(id),
  cancelled: (task) => model.take(task),
  retried: noteStarted,
});

for (const form of /** @type {NodeListOf<HTMLFormElement>} */ (
  document.querySelectorAll("form[data-start]")
)) {
  enableStart(form, connection, (task) => {
    noteStarted(task.task_id);
    model.take(task);
    announce(`Started: ${task.title}`);
    const link = document.createElement("a");
    link.href = taskUrl(task.task_id);
    link.textContent = task.title ?? task.task_id;
    return link;
  });
}

enableUpload((id) => {
  noteStarted(id);
  const link = document.createElement("a");
  link.href = taskUrl(id);
  link.textContent = "show";
  return link;
});

byId("chips").addEventListener("click", (event) => {
  const chip = /** @type {HTMLElement} */ (event.target).closest("a");
  if (chip === null || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  model.filter({ ...model.filters, status: chip.dataset.status ?? "" });
});

const search = /** @type {HTMLInputElement} */ (byId("search-box"));
let pause = 0;
const searchNow = () => {
  clearTimeout(pause);
  model.filter({ ...model.filters, search: search.value.trim() });
};
search.addEventListener("input", () => {
  clearTimeout(pause);
  pause = window.setTimeout(searchNow, SEARCH_PAUSE_MS);
});
byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  searchNow();
});
byId("more").addEventListener("click", (event) => {
  event.preventDefault();
  void model.more();
});

/** @returns {Element | null} the row that has the focus */
const currentRow = () => document.activeElement?.closest("#tasks > li") ?? null;

/** @param {Element | null | undefined} row */
const goTo = (row) => {
  const title = /** @type {HTMLElement | null | undefined} */ (row?.querySelector(".task-title"));
  title?.focus();
};

enableKeys({
  "/": () => search.focus(),
  j: () => goTo(currentRow() === null ? list.firstElementChild : currentRow()?.nextElementSibling),
  k: () => goTo(currentRow()?.previousElementSibling),
  c: () => pressCancel(currentRow()),
});
enableNotifying();
enableCopying();
connection.open();
