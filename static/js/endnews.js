/** Ends as a list tells them to those who listen: many at once are one sentence. */

import { words } from "./format.js";
import { announce, announceFailure } from "./signs.js";

/** @typedef {import("./types.js").Task} Task */

const GATHER_MS = 400;

/** @type {Task[]} */
let waiting = [];

/** @param {Task} task that has ended */
export function tellEnd(task) {
  if (waiting.length === 0) setTimeout(tell, GATHER_MS);
  waiting.push(task);
}

function tell() {
  const ends = waiting;
  waiting = [];
  const failed = ends.filter((task) => task.status === "failed");
  const rest = ends.filter((task) => task.status !== "failed");
  if (failed.length > 0) announceFailure(sentence(failed));
  if (rest.length > 0) announce(sentence(rest));
}

/** @param {Task[]} ends @returns {string} such as "Backup: completed", or "4 tasks: 3 completed, 1 cancelled" */
function sentence(ends) {
  if (ends.length === 1) return `${ends[0].title ?? "A task"}: ${words(ends[0])}`;
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const task of ends) counts.set(words(task), (counts.get(words(task)) ?? 0) + 1);
  const parts = Array.from(counts, ([word, count]) => `${count} ${word}`);
  return `${ends.length} tasks: ${parts.join(", ")}`;
}
