/** The live list. */

import { enableActions } from "./actions.js";
import { Connection } from "./connection.js";
import { byId, data } from "./dom.js";
import { slowly } from "./frame.js";
import { ListModel } from "./listmodel.js";
import { announce, enableCopying, showConnection } from "./signs.js";
import { enableStart } from "./startform.js";

const SEARCH_PAUSE_MS = 250;

const page = data("page");
const view = data("view");
const connection = new Connection(page, showConnection);

/** @param {string} id @returns {string} */
const taskUrl = (id) => view.task_url.replace("__id__", encodeURIComponent(id));
const model = new ListModel(connection, view, taskUrl);

connection.on("tasks_update", (update) => model.update(update));
connection.on("progress_update", (update) => model.progress(update));
connection.watch(() => model.watch());
slowly(() => model.tick());

enableActions(byId("tasks"), connection, {
  taskOf: (id) => model.get(id),
  cancelled: (task) => model.take(task),
  retried: () => {},
});

for (const form of /** @type {NodeListOf<HTMLFormElement>} */ (
  document.querySelectorAll("form[data-start]")
)) {
  enableStart(form, connection, (task) => {
    model.take(task);
    announce(`Started: ${task.title}`);
    const link = document.createElement("a");
    link.href = taskUrl(task.task_id);
    link.textContent = task.title ?? task.task_id;
    return link;
  });
}

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

enableCopying();
connection.open();
