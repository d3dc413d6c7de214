/** A note of the system's own at a task's end: only if asked for, unseen, and of long work. */

import { byId } from "./dom.js";
import { line, words } from "./format.js";
import { pref, setPref } from "./prefs.js";
import { alertUser, announce } from "./signs.js";

/** @typedef {import("./types.js").Task} Task */

const LONG_S = 30;

/** Show the button that asks for permission, where the browser knows such notes. */
export function enableNotifying() {
  if (!("Notification" in window) || !window.isSecureContext) return;
  const button = byId("notify");
  button.hidden = false;
  paint(button);
  button.addEventListener("click", () => void toggle(button));
}

/** @returns {boolean} */
function wanted() {
  return pref("notify", "off") === "on" && Notification.permission === "granted";
}

/** @param {HTMLElement} button */
async function toggle(button) {
  if (wanted()) {
    setPref("notify", "off");
    announce("Notifications are off");
  } else if ((await Notification.requestPermission()) === "granted") {
    setPref("notify", "on");
    announce("You will be notified when a long task ends while this page is hidden");
  } else {
    alertUser("The browser does not allow notifications of this site.");
  }
  paint(button);
}

/** @param {HTMLElement} button */
function paint(button) {
  button.setAttribute("aria-pressed", String(wanted()));
}

/** @param {Task} task that has ended @param {string} [title] where the task's is not known */
export function notifyEnd(task, title = task.title ?? "A task") {
  const tookS = task.elapsed_s ?? 0;
  if (!document.hidden || tookS <= LONG_S || !("Notification" in window) || !wanted()) return;
  const body = line(task);
  const tag = `socketprogress-${task.task_id}`;
  try {
    const note = new Notification(`${words(task)}: ${title}`, { body, tag });
    note.addEventListener("click", () => window.focus());
  } catch {
    // Browsers on phones leave this to service workers, which we have none of.
    byId("notify").hidden = true;
  }
}
