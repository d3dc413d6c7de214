import assert from "node:assert/strict";
import { test } from "node:test";

import { Milestones } from "../../static/js/milestones.js";
import { frame } from "./frames.js";

/** @param {number | null} progress */
const at = (progress) => ({
  ...frame("progress_update.in_progress"),
  title: "Backup",
  progress,
  eta_s: null,
});

test("quarters are said once each, at least ten seconds apart", () => {
  const milestones = new Milestones(at(0));

  assert.equal(milestones.next(at(10), 0), null);
  assert.equal(milestones.next(at(26), 1_000), "25%");
  assert.equal(milestones.next(at(27), 2_000), null);
  assert.equal(milestones.next(at(51), 3_000), null);
  assert.equal(milestones.next(at(60), 11_000), "50%");
  assert.equal(milestones.next(at(99), 30_000), "75%");
});

test("the end is said at once and once", () => {
  const milestones = new Milestones(at(70));
  const end = { ...frame("progress_update.completed"), title: "Backup" };

  assert.equal(milestones.next(at(76), 0), "75%");
  assert.equal(milestones.next(end, 1), "Backup: completed");
  assert.equal(milestones.next(end, 60_000), null);
});

test("a task that had ended when the page was opened is no news", () => {
  const end = frame("progress_update.failed");

  assert.equal(new Milestones(end).next(end, 0), null);
});

test("an indeterminate task has no quarters, and one that was reset says them again", () => {
  const milestones = new Milestones(at(80));

  assert.equal(milestones.next(at(null), 0), null);
  assert.equal(milestones.next(at(25), 20_000), "25%");
});
