/** Cancel, which asks once more, and Retry: on rows and on a task's own page. */

import { byId } from "./dom.js";
import { alertUser, announce, sentence } from "./signs.js";

/** @typedef {import("./connection.js").Connection} Connection */
/** @typedef {import("./types.js").Task} Task */

/**
 * @typedef {object} Handlers
 * @property {(id: string) => Task | undefined} taskOf
 * @property {(task: Task) => void} cancelled takes the state in which cancellation is asked for
 * @property {(id: string) => void} retried takes the new task's id
 */

/** @type {(() => void) | null} what the open dialog asks about */
let confirmed = null;

/**
 * Make the forms under `root` ask over the connection instead of loading a page.
 * @param {HTMLElement} root
 * @param {Connection} connection
 * @param {Handlers} handlers
 */
export function enableActions(root, connection, handlers) {
  byId("cancel-dialog").addEventListener("submit", (event) => {
    const button = /** @type {HTMLButtonElement | null} */ (event.submitter);
    if (button?.value === "cancel") confirmed?.();
  });
  root.addEventListener("submit", (event) => {
    const form = /** @type {HTMLFormElement} */ (event.target);
    const action = form.dataset.action;
    const place = /** @type {HTMLElement | null} */ (form.closest("[data-task-id]"));
    const id = place?.dataset.taskId;
    if (id === undefined || (action !== "cancel" && action !== "retry")) return;
    event.preventDefault();
    const dim = form.querySelector("button")?.getAttribute("aria-disabled") === "true";
    if (action === "cancel" && dim) return;
    alertUser("");
    // Before the first state is there, the page says its title itself.
    const shown = place?.querySelector('[data-part="title"]')?.textContent ?? id;
    if (action === "cancel") askToCancel(id, shown, connection, handlers);
    else void retry(id, connection, handlers);
  });
}

/**
 * @param {string} id
 * @param {string} shown its title as it stands on the page
 * @param {Connection} connection
 * @param {Handlers} handlers
 */
function askToCancel(id, shown, connection, handlers) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("cancel-dialog"));
  byId("cancel-task").textContent = handlers.taskOf(id)?.title ?? shown;
  confirmed = () => void cancel(id, connection, handlers);
  dialog.showModal();
}

/** @param {string} id @param {Connection} connection @param {Handlers} handlers */
async function cancel(id, connection, handlers) {
  const before = handlers.taskOf(id);
  if (before !== undefined && connection.live) {
    handlers.cancelled({ ...before, cancel_requested: true });
  }
  try {
    const ack = await connection.request("cancel_task", id);
    handlers.cancelled(ack.task);
    announce("Cancelling");
  } catch (error) {
    if (before !== undefined) handlers.cancelled(before);
    alertUser(`Not cancelled. ${sentence(/** @type {Error} */ (error).message)}`);
  }
}

/** @param {string} id @param {Connection} connection @param {Handlers} handlers */
async function retry(id, connection, handlers) {
  try {
    const ack = await connection.request("retry_task", id);
    announce("Started again");
    handlers.retried(ack.task_id);
  } catch (error) {
    alertUser(`Not started again. ${sentence(/** @type {Error} */ (error).message)}`);
  }
}
