/** Short notes in the corner, for those who see: how a task ended that was started here. */

import { byId } from "./dom.js";
import { duration, icon, words } from "./format.js";

/** @typedef {import("./types.js").Task} Task */

const SHOWN_MS = 10_000;
const MOST = 4;
const SVG = "http://www.w3.org/2000/svg";

/** @param {Task} task that has ended @param {string} url of its page */
export function toastEnd(task, url) {
  const toast = document.createElement("div");
  toast.className = "toast";
  toast.dataset.status = icon(task);
  const title = document.createElement("a");
  title.href = url;
  title.dir = "auto";
  title.textContent = task.title ?? task.task_id;
  const took = task.elapsed_s ?? null;
  const said = document.createElement("span");
  said.className = "toast-words";
  said.textContent = took === null ? words(task) : `${words(task)} · ${duration(took)}`;
  toast.append(iconOf(task), said, title, closeButton(toast));
  const box = byId("toasts");
  box.append(toast);
  while (box.childElementCount > MOST) box.firstElementChild?.remove();
  if (task.status === "completed") leaveInTime(toast);
}

/** @param {HTMLElement} toast leaves by itself, unless somebody is at it; a failure stays */
function leaveInTime(toast) {
  setTimeout(() => {
    if (toast.matches(":hover, :focus-within")) leaveInTime(toast);
    else toast.remove();
  }, SHOWN_MS);
}

/** @param {HTMLElement} toast @returns {HTMLButtonElement} */
function closeButton(toast) {
  const button = document.createElement("button");
  button.className = "plain close";
  button.setAttribute("aria-label", "Dismiss");
  button.textContent = "×";
  button.addEventListener("click", () => toast.remove());
  return button;
}

/** @param {Task} task @returns {Element} */
function iconOf(task) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${icon(task)}`);
  svg.append(use);
  return svg;
}
