/** A list's order, kept still while somebody is at it. Pure. */

/** @typedef {import("./types.js").Task} Task */

/**
 * Leave what is shown where it is, and put what is new behind what it follows in the true order.
 * @param {readonly string[]} shown the ids as they stand
 * @param {Task[]} tasks in the true order
 * @returns {Task[]}
 */
export function steady(shown, tasks) {
  const known = new Set(shown);
  const byId = new Map(tasks.map((task) => [task.task_id, task]));
  /** @type {Map<string | null, Task[]>} what is new, by the known task that it follows */
  const behind = new Map();
  /** @type {string | null} */
  let last = null;
  for (const task of tasks) {
    if (known.has(task.task_id)) last = task.task_id;
    else behind.set(last, [...(behind.get(last) ?? []), task]);
  }
  const result = behind.get(null) ?? [];
  for (const id of shown) {
    const task = byId.get(id);
    if (task !== undefined) result.push(task, ...(behind.get(id) ?? []));
  }
  return result;
}
