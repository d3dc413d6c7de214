/** One task, live. */

import { enableActions } from "./actions.js";
import { setFavicon, setTitle } from "./attention.js";
import { ChildList } from "./childlist.js";
import { Connection } from "./connection.js";
import { byId, data } from "./dom.js";
import { ended, windowTitle } from "./format.js";
import { nextFrame, slowly } from "./frame.js";
import { enableKeys, pressCancel } from "./keys.js";
import { LogView } from "./logview.js";
import { Milestones } from "./milestones.js";
import { enableNotifying, notifyEnd } from "./notify.js";
import { showOutcome, showTraceback } from "./outcome.js";
import { enableSharing } from "./share.js";
import { alertUser, announce, announceFailure, enableCopying, showConnection } from "./signs.js";
import { SparkView } from "./sparkview.js";
import { followStarted, forgetStarted, noteStarted } from "./started.js";
import { Tasks } from "./state.js";
import { StepsView } from "./stepsview.js";
import { TaskView } from "./taskview.js";
import { toastEnd } from "./toasts.js";
import { tracebackOf } from "./traceback.js";

/** @typedef {import("./types.js").Task} Task */
/** @typedef {import("./connection.js").RequestError} RequestError */

const CHILD_TICK_MS = 100;

const page = data("page");
const view = data("view");
const id = view.task_id;
/** @param {string} taskId @returns {string} */
const taskUrl = (taskId) => view.task_url.replace("__id__", encodeURIComponent(taskId));
const connection = new Connection(page, showConnection);
const tasks = new Tasks();
const main = new TaskView(byId("task"));
const steps = new StepsView(byId("steps"), byId("steps-list"));
const log = new LogView(view.log, async (offset, limit, bytes) => {
  const ack = await connection.request("get_log", { task_id: id, offset, limit, bytes });
  return { lines: ack.lines, next_offset: ack.next_offset };
});
const spark = new SparkView();
const children = view.may_list ? new ChildList(connection, id, taskUrl) : null;
const milestones = new Milestones(view.shown);
/** @type {string | null} the status that was painted last */
let painted = null;

async function watch() {
  const known = tasks.get(id);
  const since = known === undefined ? {} : { epoch: known.epoch, seq: known.seq };
  try {
    const ack = await connection.request("watch_task", { task_id: id, ...since });
    tasks.take(ack.task);
  } catch (error) {
    if (/** @type {RequestError} */ (error).code !== "unknown_task") throw error;
    alertUser("The server does not keep this task any more.");
    return;
  }
  changed();
  await log.catchUp();
  whereItFailed();
}

/** A traceback is the last that a task says, maybe after its end. */
function whereItFailed() {
  if (tasks.get(id)?.error?.code === "exception") showTraceback(tracebackOf(log.lines));
}

/** Paint in the next frame; what is seen of a hidden page follows at once. */
function changed() {
  const task = tasks.get(id);
  if (task === undefined) return;
  const news = milestones.next(task, performance.now());
  if (news !== null && task.status === "failed") announceFailure(news);
  else if (news !== null) announce(news);
  if (news !== null && ended(task)) notifyEnd(task);
  if (ended(task)) forgetStarted(id);
  setTitle(windowTitle(task));
  setFavicon(task.status === "completed" ? "completed" : ended(task) ? "failed" : "active");
  nextFrame(main, () => paint(task));
}

/** @param {Task} task */
function paint(task) {
  main.show(task);
  steps.show(task.steps ?? []);
  byId("lost").hidden = task.status !== "lost";
  if (task.status === painted) return;
  painted = task.status;
  if (ended(task)) {
    showOutcome(task);
    whereItFailed();
  }
  for (const time of /** @type {NodeListOf<HTMLTimeElement>} */ (
    document.querySelectorAll("time[data-at]")
  )) {
    showTime(time, task);
  }
}

/** @param {HTMLTimeElement} time @param {Task} task */
function showTime(time, task) {
  const { created_at, started_at, finished_at } = task;
  const at = { created: created_at, started: started_at, ended: finished_at }[
    time.dataset.at ?? ""
  ];
  const row = time.closest("div");
  if (row !== null) row.hidden = (at ?? null) === null;
  if (at === undefined || at === null) return;
  const date = new Date(at * 1000);
  time.dateTime = date.toISOString();
  time.textContent = date.toLocaleString();
}

connection.on("progress_update", (update) => {
  if (update.task_id !== id) return;
  const outcome = tasks.update(update);
  if (outcome === "epoch") void watch().catch(() => {});
  else if (outcome === "taken") changed();
});
connection.on("task_log", ({ task_id, offset, lines }) => {
  if (task_id !== id) return;
  log.append(offset, lines);
  whereItFailed();
});
connection.watch(watch);
followStarted(connection, (task) => {
  if (task.task_id !== id) toastEnd(task, taskUrl(task.task_id));
});
slowly(() => {
  main.tick();
  spark.tick(tasks.get(id));
});
slowly(() => children?.tick(), CHILD_TICK_MS);
enableActions(byId("task"), connection, {
  taskOf: (taskId) => (taskId === id ? tasks.get(id) : children?.get(taskId)),
  cancelled: (task) => {
    if (task.task_id !== id) return children?.take(task);
    tasks.take(task);
    changed();
  },
  retried: (taskId) => {
    noteStarted(taskId);
    location.assign(taskUrl(taskId));
  },
});
enableKeys({ c: () => pressCancel(byId("task")) });
enableNotifying();
enableSharing(view.token_url);
enableCopying();
connection.open();
