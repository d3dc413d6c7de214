/** How a task ended: its error, its result, its files. */

import { byId } from "./dom.js";
import { size } from "./format.js";

/** @typedef {import("./types.js").Task} Task */
/** @typedef {import("./types.js").ResultFile} ResultFile */

const FOLD_LINES = 24;

/** @param {Task} task show what it has of these */
export function showOutcome(task) {
  showError(task.error ?? null);
  showResult(task.result ?? null);
  showFiles(task.files ?? []);
}

/** @param {import("./types.js").WireError | null} error */
function showError(error) {
  byId("error").hidden = error === null;
  byId("error-code").textContent = error?.code ?? "";
  byId("error-message").textContent = error?.message ?? "";
}

/** @param {string} text "" when there is none; it stays folded until somebody wants it */
export function showTraceback(text) {
  byId("traceback").hidden = text === "";
  const box = byId("traceback-text");
  if (box.textContent !== text) box.textContent = text;
}

/** @param {unknown} result */
function showResult(result) {
  byId("result").hidden = result === null;
  const text = result === null ? "" : JSON.stringify(result, null, 2);
  byId("result-text").textContent = text;
  const fold = /** @type {HTMLDetailsElement} */ (byId("result-fold"));
  fold.open = text.split("\n", FOLD_LINES + 1).length <= FOLD_LINES;
}

/** @param {ResultFile[]} files */
function showFiles(files) {
  byId("files").hidden = files.length === 0;
  byId("files-list").replaceChildren(...files.map(fileItem));
}

/** @param {ResultFile} file @returns {HTMLElement} */
function fileItem(file) {
  const item = document.createElement("li");
  const link = document.createElement("a");
  link.textContent = file.name;
  if (/^(https?:\/\/|\/(?!\/))/.test(file.url)) link.href = file.url;
  link.download = "";
  const note = document.createElement("span");
  note.className = "quiet";
  note.textContent = size(file.size_bytes);
  item.append(link, " ", note);
  return item;
}
