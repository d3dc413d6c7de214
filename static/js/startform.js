/** The start forms: checked here for shape, by the server for sense, sent over the connection. */

import { readArguments } from "./fields.js";
import { clearErrors, fieldsOf, showFieldError } from "./formfields.js";

/** @typedef {import("./connection.js").Connection} Connection */
/** @typedef {import("./connection.js").RequestError} RequestError */
/** @typedef {import("./types.js").Task} Task */

/**
 * @param {HTMLFormElement} form
 * @param {Connection} connection
 * @param {(task: Task) => HTMLElement} started takes the new task, gives a link to it
 */
export function enableStart(form, connection, started) {
  /** @type {string | null} kept until the server has answered, so that a second press is no second task */
  let taskId = null;
  let busy = false;
  form.noValidate = true;
  form.addEventListener("input", () => (taskId = null));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy) return;
    clearErrors(form);
    form.querySelector('[data-part="started"]')?.replaceChildren();
    busy = true;
    try {
      const args = readArguments(fieldsOf(form));
      taskId ??= makeId();
      const payload = { task: form.dataset.start, args, task_id: taskId };
      const ack = await connection.request("start_task", payload);
      taskId = null;
      form.querySelector('[data-part="started"]')?.replaceChildren("Started: ", started(ack.task));
    } catch (error) {
      const known = /** @type {RequestError} */ (error);
      if (known.code !== "no_answer") taskId = null;
      const again = known.code === "no_answer" ? " Press Start again: it starts only once." : "";
      showError(form, known.field, `${known.message}${again}`);
    } finally {
      busy = false;
    }
  });
}

/** @returns {string} 128 random bits; randomUUID is missing on plain http */
function makeId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {HTMLFormElement} form @param {string | undefined} field @param {string} message */
function showError(form, field, message) {
  if (showFieldError(form, field, message)) return;
  const line = form.querySelector('[data-part="form-error"]');
  if (line !== null) line.textContent = message;
}
