import assert from "node:assert/strict";
import { test } from "node:test";

import { timeLeft } from "../../static/js/format.js";
import { Tasks, credible, elapsed, fitting } from "../../static/js/state.js";
import { frame } from "./frames.js";

/** @param {object} [changes] */
const update = (changes = {}) => ({ ...frame("progress_update.in_progress"), ...changes });

test("an update before the snapshot is kept, and the snapshot adds what it lacks", () => {
  const tasks = new Tasks();
  const early = update({ seq: 20, progress: 44 });

  assert.equal(tasks.update(early), "taken");
  tasks.take(frame("task_started"));

  const task = tasks.get(early.task_id);
  assert.equal(task?.progress, 44);
  assert.equal(task?.seq, 20);
  assert.equal(task?.title, "Checksum of photos");
});

test("an update that is not newer is dropped", () => {
  const tasks = new Tasks();
  tasks.take(frame("task_started"));

  assert.equal(tasks.update(update({ seq: 17, progress: 1 })), "stale");
  assert.equal(tasks.update(update({ seq: 3, progress: 1 })), "stale");

  assert.equal(tasks.get(update().task_id)?.progress, 40);
});

test("an update of another epoch is ignored, and asks for a new watch", () => {
  const tasks = new Tasks();
  tasks.take(frame("task_started"));
  const other = frame("progress_update.new_epoch");

  assert.equal(tasks.update(other), "epoch");
  assert.equal(tasks.get(other.task_id)?.progress, 40);

  tasks.take({ ...frame("task_started"), ...other });
  assert.equal(tasks.get(other.task_id)?.progress, 3);
  assert.equal(tasks.update({ ...other, seq: 3, progress: 4 }), "taken");
});

test("a snapshot that is older than what overtook it does not turn the task back", () => {
  const tasks = new Tasks();
  tasks.take(frame("task_started"));
  tasks.update(frame("progress_update.completed"));

  tasks.take(frame("task_started"));

  assert.equal(tasks.get(update().task_id)?.status, "completed");
});

for (const end of ["completed", "failed", "cancelled"]) {
  test(`the last update of a ${end} task brings how it ended`, () => {
    const tasks = new Tasks();
    tasks.take(frame("task_started"));

    tasks.update(frame(`progress_update.${end}`));

    const task = tasks.get(update().task_id);
    assert.equal(task?.status, end);
    assert.equal(task?.finished_at !== null, true);
    assert.equal(task?.error?.code, end === "failed" ? "exception" : undefined);
    assert.equal(task?.files?.length, end === "completed" ? 1 : 0);
  });
}

test("active tasks come before ended ones, the newest first", () => {
  const tasks = new Tasks();
  const { tasks: some } = frame("tasks_update");
  const lost = { ...some[0], task_id: "lost-1", status: "lost", created_at: 1 };
  const failed = { ...some[0], task_id: "failed-1", status: "failed", created_at: 9e9 };

  for (const task of [...some, failed, lost]) tasks.update(task);

  const order = tasks.ordered().map((task) => task.task_id);
  assert.deepEqual(order, [some[0].task_id, "hostile-1", "lost-1", "failed-1", "older-1"]);
});

test("the answer to a watch replaces the list but not what is newer", () => {
  const tasks = new Tasks();
  const { tasks: some } = frame("tasks_update");
  for (const task of some) tasks.update(task);
  tasks.update(update({ seq: 30, progress: 77 }));

  tasks.replace([some[0]]);

  assert.equal(tasks.size, 1);
  assert.equal(tasks.get(some[0].task_id)?.progress, 77);
});

test("a list that grows too long loses its end", () => {
  const tasks = new Tasks();
  for (const task of frame("tasks_update").tasks) tasks.update(task);

  assert.equal(tasks.trim(3), false);
  assert.equal(tasks.trim(2), true);

  assert.equal(tasks.get("older-1"), undefined);
  assert.equal(tasks.size, 2);
});

test("an id that is a word of the language is only an id", () => {
  const tasks = new Tasks();
  const hostile = frame("progress_update.hostile");

  assert.equal(tasks.get("__proto__"), undefined);
  assert.equal(tasks.update(hostile), "taken");

  assert.equal(tasks.get("__proto__")?.message, hostile.message);
  assert.equal(tasks.get("constructor"), undefined);
  assert.equal(/** @type {any} */ ({}).message, undefined);
});

test("a rate is not believed of a task that stands still for longer than it allows for", () => {
  const rateAt = (/** @type {number} */ rate, /** @type {number} */ now) =>
    credible(update({ rate, eta_s: 9, updated_at: 100 }), now).rate;
  assert.equal(rateAt(200, 104), 200);
  assert.equal(rateAt(200, 106), null);
  assert.equal(rateAt(0.1, 125), 0.1);
  assert.equal(rateAt(0.1, 131), null);
  assert.equal(credible(update({ rate: 200, eta_s: 9, updated_at: 100 }), 106).eta_s, null);
  assert.equal(credible(update({ rate: 200, updated_at: null }), 106).rate, 200);
});

test("the time left shrinks between updates, and is over when it is", () => {
  const at = { ...frame("progress_update.usual"), updated_at: 100, elapsed_s: 10 };
  const texts = [100, 160, 240, 279, 281].map((now) => timeLeft(credible(at, now)));
  assert.deepEqual(texts, [
    "2 to 3 min left",
    "1 to 2 min left",
    "up to 40 s left",
    "a few seconds left",
    "longer than usual",
  ]);
});

test("elapsed time goes on between updates, only while the task is in progress", () => {
  const at = { elapsed_s: 5, updated_at: 100 };
  assert.equal(elapsed(update(at), 101.5), 6.5);
  assert.equal(elapsed(update(at), 99), 5);
  assert.equal(elapsed(update({ ...at, status: "lost" }), 101.5), 5);
  assert.equal(elapsed(frame("progress_update.completed"), 3e9), 13);
  assert.equal(elapsed(update({ ...at, elapsed_s: null }), 101.5), null);
  assert.equal(elapsed(update({ elapsed_s: 5, updated_at: null }), 101.5), 5);
});

test("a status filter lets only its own tasks through", () => {
  const { tasks } = frame("tasks_update");

  assert.equal(fitting(tasks, "").length, 3);
  assert.deepEqual(
    fitting(tasks, "completed").map((task) => task.task_id),
    ["older-1"],
  );
});
