/** The tasks that were started in this tab, on whatever page: their ends are told on every page. */

import { ended } from "./format.js";

/** @typedef {import("./types.js").Task} Task */
/** @typedef {import("./connection.js").Connection} Connection */

const KEY = "socketprogress.started";
const MOST = 50;

/** @type {Set<string>} */
const ids = new Set(stored());

/** @returns {string[]} */
function stored() {
  try {
    const found = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
    return Array.isArray(found) ? found.filter((id) => typeof id === "string") : [];
  } catch {
    return [];
  }
}

function store() {
  try {
    sessionStorage.setItem(KEY, JSON.stringify([...ids].slice(-MOST)));
  } catch {
    // Then only this page knows.
  }
}

/** @param {string} id */
export function noteStarted(id) {
  ids.add(id);
  store();
}

/** @param {string} id @returns {boolean} whether it was started here and has not ended */
export function isStarted(id) {
  return ids.has(id);
}

/** @param {string} id @returns {boolean} whether it was among them */
export function forgetStarted(id) {
  const was = ids.delete(id);
  if (was) store();
  return was;
}

/**
 * Follow them over a connection, and tell of each end once.
 * @param {Connection} connection
 * @param {(task: Task) => void} tell
 */
export function followStarted(connection, tell) {
  /** @type {Map<string, string | undefined>} */
  const titles = new Map();
  /** @param {Task} task */
  const see = (task) => {
    if (!ids.has(task.task_id)) return;
    if (task.title !== undefined) titles.set(task.task_id, task.title);
    if (!ended(task)) return;
    forgetStarted(task.task_id);
    tell({ ...task, title: task.title ?? titles.get(task.task_id) });
  };
  connection.on("progress_update", see);
  connection.on("tasks_update", ({ tasks }) => tasks.forEach(see));
  connection.watch(async () => {
    for (const id of ids) {
      try {
        see((await connection.request("watch_task", id)).task);
      } catch (error) {
        const { code } = /** @type {import("./connection.js").RequestError} */ (error);
        if (code === "unknown_task" || code === "forbidden") forgetStarted(id);
        else throw error;
      }
    }
  });
}
