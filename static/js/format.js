/** Values as people read them. Pure. The templates' format.html says the same on the server. */

/** @typedef {import("./types.js").Task} Task */

const BYTE_UNITS = ["kB", "MB", "GB", "TB", "PB"];
const UNSAID_UNITS = new Set(["B", "it", "%"]);
const SAME_PLURALS = new Set(["children", "data", "info", "metadata", "min", "people", "sec"]);
const OWN_PLURALS = new Map([
  ["alias", "aliases"],
  ["analysis", "analyses"],
  ["axis", "axes"],
  ["bus", "buses"],
  ["canvas", "canvases"],
  ["child", "children"],
  ["corpus", "corpora"],
  ["epoch", "epochs"],
  ["half", "halves"],
  ["leaf", "leaves"],
  ["lens", "lenses"],
  ["matrix", "matrices"],
  ["person", "people"],
  ["quiz", "quizzes"],
  ["status", "statuses"],
  ["vertex", "vertices"],
  ["virus", "viruses"],
]);
const FEW_S = 5;
const QUIET_S = 3;
const WORTH_A_RANGE = 1.3;
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

/**
 * @param {Task} task
 * @returns {string} what it does now, or why it failed; "" once it does nothing more
 */
export function line(task) {
  const quiet = task.status === "completed" || task.status === "cancelled";
  return task.error?.message ?? (quiet ? "" : (task.message ?? ""));
}

/** @param {Task} task @returns {string} the same beside the error: what it did last, once it is over */
export function lastLine(task) {
  return ended(task) && task.message ? `Last: ${task.message}` : (task.message ?? "");
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

/** @param {string} unit one of them, such as "batch" @returns {string} such as "batches" */
export function plural(unit) {
  const own = OWN_PLURALS.get(unit);
  if (own !== undefined) return own;
  if (!/^[a-z]{3,}$/.test(unit) || SAME_PLURALS.has(unit)) return unit;
  if (/(?:ss|x|z|ch|sh)$/.test(unit)) return `${unit}es`;
  if (unit.endsWith("s")) return unit;
  return /[^aeiou]y$/.test(unit) ? `${unit.slice(0, -1)}ies` : `${unit}s`;
}

/** @param {number} value @param {string} [unit] @returns {string} such as " files" */
function said(value, unit) {
  if (unit === undefined || UNSAID_UNITS.has(unit)) return "";
  return ` ${value === 1 ? unit : plural(unit)}`;
}

/** @param {Task} task @returns {string} such as "12 of 300 files", or "" */
export function counts(task) {
  const { current = 0, total = null, unit } = task;
  if (total !== null) return `${amount(current, unit)} of ${amount(total, unit)}${said(total, unit)}`;
  return current === 0 ? "" : `${amount(current, unit)}${said(current, unit)}`;
}

/** @param {Task} task @returns {string} such as "120 MB/s", or "" when unknown or over */
export function rate(task) {
  const value = task.rate ?? null;
  if (value === null || task.status !== "in_progress") return "";
  if (task.unit === "B") return `${size(value)}/s`;
  return `${value >= 100 ? whole.format(value) : three.format(value)}${said(value, task.unit)}/s`;
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

/** @param {number} seconds @returns {string} such as "no news for 42 s" */
export function lostFor(seconds) {
  return `no news for ${seconds < 60 ? `${Math.floor(seconds)} s` : duration(seconds)}`;
}

/**
 * @param {Task} task
 * @returns {string} the time left, coarsely: "about 40 s left", "2 to 3 min left"; "" when not
 *   credible, and for the first seconds, "longer than usual" once it has taken longer than such tasks did so far
 */
export function timeLeft(task) {
  if (task.status !== "in_progress" || task.cancel_requested) return "";
  if (task.progress !== null && task.progress >= 99.99) return "finishing…";
  if ((task.elapsed_s ?? QUIET_S) < QUIET_S) return "";
  const left = task.eta_s ?? null;
  if (left !== null) {
    return `${range(task.eta_low_s ?? left, task.eta_high_s ?? left) ?? about(left)} left`;
  }
  const usual = task.usual_s ?? null;
  return usual !== null && (task.elapsed_s ?? 0) > usual ? "longer than usual" : "";
}

/** @param {number} low @param {number} high @returns {string | null} null: one number says as much */
function range(low, high) {
  if (high < FEW_S || high <= low * WORTH_A_RANGE) return null;
  const [to, unit] = rounded(high);
  if (low < FEW_S) return `up to ${to} ${unit}`;
  const [from, small] = rounded(low);
  if (unit !== small) return `${from} ${small} to ${to} ${unit}`;
  return from === to ? null : `${from} to ${to} ${unit}`;
}

/** @param {number} s @returns {string} */
function about(s) {
  return s < FEW_S ? "a few seconds" : `about ${rounded(s).join(" ")}`;
}

/** @param {number} s @returns {[string, string]} as exactly as one can know it, and the unit */
function rounded(s) {
  if (s < 55) return [`${Math.ceil(s / 5) * 5}`, "s"];
  const minutes = Math.max(Math.round(s / 60), 1);
  if (minutes < 10) return [`${minutes}`, "min"];
  if (minutes < 58) return [`${Math.round(minutes / 5) * 5}`, "min"];
  const hours = s / 3600;
  if (hours < 10) return [tenths.format(Math.round(hours * 2) / 2), "h"];
  return hours < 48 ? [`${Math.round(hours)}`, "h"] : [`${Math.round(hours / 24)}`, "days"];
}

/** @param {Task} task @returns {string} what a screen reader says for the bar: "42%, about 3 minutes left" */
export function valueText(task) {
  const moves = icon(task) === "in_progress" && task.progress !== null;
  const parts = [moves ? "" : words(task), percent(task), spoken(timeLeft(task))];
  return parts.filter((part) => part !== "").join(", ");
}

/** @param {string} text @returns {string} with its units written out */
function spoken(text) {
  return text
    .replace(/\bmin\b/g, "minutes")
    .replace(/\bs\b/g, "seconds")
    .replace(/\bh\b/g, "hours")
    .replace(/\b1 (minute|second|hour)s/g, "1 $1");
}

/** @param {Task} task @returns {string} the window's title */
export function windowTitle(task) {
  const done = ended(task) || task.progress === null || task.status === "lost";
  return `${done ? words(task) : percent(task)} · ${task.title ?? ""}`;
}
