import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import * as show from "../../static/js/format.js";
import { frame } from "./frames.js";

/** @type {Record<string, string>} */
const plurals = JSON.parse(readFileSync(new URL("plurals.json", import.meta.url), "utf8"));
const running = frame("progress_update.in_progress");
const usual = frame("progress_update.usual");

test("a status is written out", () => {
  assert.equal(show.words(running), "in progress");
  assert.equal(show.words(frame("progress_update.failed")), "failed");
});

test("a task whose cancellation was asked for is cancelling until it has ended", () => {
  assert.equal(show.words({ ...running, cancel_requested: true }), "cancelling");
  assert.equal(show.words(frame("progress_update.cancelled")), "cancelled");
});

test("percent is rounded down, so that 100 is success alone", () => {
  assert.equal(show.percent({ ...running, progress: 99.99 }), "99%");
  assert.equal(show.percent(frame("progress_update.completed")), "100%");
  assert.equal(show.percent(frame("progress_update.indeterminate")), "");
});

test("bytes are people's bytes", () => {
  const sizes = [0, 999, 1000, 123_456, 8.4e9, 1e15, 5e18].map(show.size);
  assert.deepEqual(sizes, ["0 B", "999 B", "1.0 kB", "123 kB", "8.4 GB", "1.0 PB", "5000 PB"]);
});

test("counts name their unit, except the one that says nothing", () => {
  assert.equal(show.counts({ ...running, unit: "B" }), "3.1 GB of 8.4 GB");
  assert.equal(show.counts({ ...running, current: 1204, total: 9e3, unit: "it" }), "1,204 of 9,000");
  assert.equal(show.counts({ ...running, current: 2, total: null, unit: "rows" }), "2 rows");
  assert.equal(show.counts({ ...running, current: 0, total: null, unit: "rows" }), "");
});

test("units are words for one of them; the table is the templates' too", () => {
  for (const [unit, several] of Object.entries(plurals)) assert.equal(show.plural(unit), several);
});

test("a unit follows its number", () => {
  const of = (/** @type {number} */ current, /** @type {number | null} */ total, unit = "batch") =>
    show.counts({ ...running, current, total, unit });
  assert.equal(of(310, 900), "310 of 900 batches");
  assert.equal(of(1, 900), "1 of 900 batches");
  assert.equal(of(0, 1), "0 of 1 batch");
  assert.equal(of(1, null), "1 batch");
  assert.equal(of(1.5, null), "1.5 batches");
  assert.equal(of(2, null, "%"), "2");
  assert.equal(show.rate({ ...running, rate: 1, unit: "batch" }), "1 batch/s");
});

test("a rate is shown while the task is in progress", () => {
  assert.equal(show.rate({ ...running, unit: "B" }), "741 MB/s");
  assert.equal(show.rate({ ...running, rate: 0.2541, unit: "it" }), "0.254/s");
  assert.equal(show.rate({ ...running, rate: 12345.6, unit: "rows" }), "12,346 rows/s");
  assert.equal(show.rate({ ...frame("progress_update.completed"), unit: "B" }), "");
  assert.equal(show.rate(frame("progress_update.indeterminate")), "");
});

test("durations get coarser as they grow", () => {
  const texts = [0.04, 9.96, 59.9, 61, 3599, 3600, 90_000].map(show.duration);
  assert.deepEqual(texts, [
    "< 0.1 s",
    "10.0 s",
    "59 s",
    "1 min 01 s",
    "59 min 59 s",
    "1 h 00 min",
    "1 d 1 h",
  ]);
});

test("the time left is coarse, and unknown is not said", () => {
  const left = (/** @type {number | null} */ eta_s) => show.timeLeft({ ...running, eta_s });
  assert.equal(left(null), "");
  assert.equal(left(2), "a few seconds left");
  assert.equal(left(41), "about 45 s left");
  assert.equal(left(190), "about 3 min left");
  assert.equal(left(1700), "about 30 min left");
  assert.equal(left(9000), "about 2.5 h left");
  assert.equal(left(200_000), "about 2 days left");
  assert.equal(show.timeLeft({ ...running, eta_s: 41, elapsed_s: 2.9 }), "");
  assert.equal(show.timeLeft({ ...running, progress: 99.99 }), "finishing…");
  assert.equal(show.timeLeft({ ...running, cancel_requested: true }), "");
});

test("a time left that is uncertain is a range, as coarse as its ends", () => {
  const left = (/** @type {number} */ low, /** @type {number} */ high) =>
    show.timeLeft({ ...running, eta_s: (low + high) / 2, eta_low_s: low, eta_high_s: high });
  assert.equal(show.timeLeft(usual), "2 to 3 min left");
  assert.equal(left(12, 33), "15 to 35 s left");
  assert.equal(left(41, 130), "45 s to 2 min left");
  assert.equal(left(0, 190), "up to 3 min left");
  assert.equal(left(1, 4), "a few seconds left");
  assert.equal(left(3000, 7300), "50 min to 2 h left");
  assert.equal(left(100, 120), "about 2 min left");
  assert.equal(left(71, 100), "1 to 2 min left");
  assert.equal(left(61, 85), "about 1 min left");
});

test("what takes longer than such tasks did so far says so, unless its own pace says more", () => {
  const over = { ...usual, eta_s: null, eta_low_s: null, eta_high_s: null, elapsed_s: 200 };
  assert.equal(show.timeLeft(over), "longer than usual");
  assert.equal(show.timeLeft({ ...over, eta_s: 41 }), "about 45 s left");
  assert.equal(show.timeLeft({ ...over, elapsed_s: 160 }), "");
  assert.equal(show.timeLeft({ ...over, cancel_requested: true }), "");
  assert.equal(show.timeLeft({ ...over, status: "lost" }), "");
});

test("a screen reader hears percent and time left in words, or the status", () => {
  assert.equal(show.valueText(running), "40%, about 10 seconds left");
  assert.equal(show.valueText(frame("progress_update.indeterminate")), "in progress");
  assert.equal(show.valueText(usual), "in progress, 2 to 3 minutes left");
});

test("the window's title tells where the task is", () => {
  const title = "Checksum of photos";
  assert.equal(show.windowTitle({ ...running, title }), "40% · Checksum of photos");
  const failed = { ...frame("progress_update.failed"), title };
  assert.equal(show.windowTitle(failed), "failed · Checksum of photos");
});
