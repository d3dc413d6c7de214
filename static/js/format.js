/** Values as people read them. Pure. The templates' format.html says the same on the server. */

/** @typedef {import("./types.js").Task} Task */

const BYTE_UNITS = ["kB", "MB", "GB", "TB", "PB"];
const UNSAID_UNITS = new Set(["B", "it", "%"]);
const ENDED = new Set(["completed", "failed", "cancelled"]);
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const three = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** @param {Pick<Task, "status">} task @returns {boolean} whether it is over for good */
export function ended(task) {
  return ENDED.has(task.status);
}

/** @param {Task} task @returns {string} the name of its icon */
export function icon(task) {
  return task.cancel_requested && !ended(task) ? "cancelling" : task.status;
}

/** @param {Task} task @returns {string} its status, written out */
export function words(task) {
  return icon(task).replace("_", " ");
}

/** @param {Task} task @returns {string} whole percent, rounded down: 100 only on success */
export function percent(task) {
  return task.progress === null ? "" : `${Math.floor(task.progress)}%`;
}

/** @param {number} bytes @returns {string} such as "3.1 GB" */
export function size(bytes) {
  let value = bytes;
  let unit = "B";
  for (const next of BYTE_UNITS) {
    if (value < 1000) break;
    value /= 1000;
    unit = next;
  }
  return `${unit === "B" || value >= 100 ? value.toFixed(0) : value.toFixed(1)} ${unit}`;
}

/** @param {number} value @param {string} [unit] @returns {string} */
function amount(value, unit) {
  return unit === "B" ? size(value) : tenths.format(value);
}

/** @param {string} [unit] one of them, such as "file" @returns {string} such as " files" */
function said(unit) {
  if (unit === undefined || UNSAID_UNITS.has(unit)) return "";
  const word = /^[a-z]{2,}[a-rt-z]$/.test(unit);
  return ` ${word ? `${unit}s`.replace(/([^aeiou])ys$/, "$1ies") : unit}`;
}

/** @param {Task} task @returns {string} such as "12 of 300 files", or "" */
export function counts(task) {
  const { current = 0, total = null, unit } = task;
  if (total !== null) return `${amount(current, unit)} of ${amount(total, unit)}${said(unit)}`;
  return current === 0 ? "" : `${amount(current, unit)}${said(unit)}`;
}

/** @param {Task} task @returns {string} such as "120 MB/s", or "" when unknown or over */
export function rate(task) {
  const value = task.rate ?? null;
  if (value === null || task.status !== "in_progress") return "";
  if (task.unit === "B") return `${size(value)}/s`;
  return `${value >= 100 ? whole.format(value) : three.format(value)}${said(task.unit)}/s`;
}

/** @param {number} seconds @returns {string} such as "3 min 05 s" */
export function duration(seconds) {
  const s = Math.floor(seconds);
  if (seconds < 0.1) return "< 0.1 s";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${pad(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${pad(Math.floor((s % 3600) / 60))} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** @param {number} n @returns {string} */
function pad(n) {
  return String(n).padStart(2, "0");
}

/** @param {number} seconds @returns {string} such as "lost 42 s ago" */
export function lostFor(seconds) {
  return `lost ${seconds < 60 ? `${Math.floor(seconds)} s` : duration(seconds)} ago`;
}

/**
 * @param {Task} task
 * @returns {string} the time left, coarsely, such as "about 40 s left"; "" when not credible
 */
export function timeLeft(task) {
  if (task.status !== "in_progress" || task.cancel_requested) return "";
  if (task.progress !== null && task.progress >= 99.99) return "finishing…";
  const left = task.eta_s ?? null;
  return left === null ? "" : `${coarse(left)} left`;
}

/** @param {number} s @returns {string} */
function coarse(s) {
  if (s < 5) return "a few seconds";
  if (s < 55) return `about ${Math.ceil(s / 5) * 5} s`;
  const minutes = Math.max(Math.round(s / 60), 1);
  if (minutes < 10) return `about ${minutes} min`;
  if (minutes < 58) return `about ${Math.round(minutes / 5) * 5} min`;
  const hours = s / 3600;
  if (hours < 10) return `about ${tenths.format(Math.round(hours * 2) / 2)} h`;
  return hours < 48 ? `about ${Math.round(hours)} h` : `about ${Math.round(hours / 24)} days`;
}

/** @param {Task} task @returns {string} what a screen reader says for the bar */
export function valueText(task) {
  return [words(task), percent(task), timeLeft(task)].filter((part) => part !== "").join(", ");
}

/** @param {Task} task @returns {string} the window's title */
export function windowTitle(task) {
  const done = ended(task) || task.progress === null || task.status === "lost";
  return `${done ? words(task) : percent(task)} · ${task.title ?? ""}`;
}
