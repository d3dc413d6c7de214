import assert from "node:assert/strict";
import { test } from "node:test";

import { Series } from "../../static/js/spark.js";

test("a minute of rates is one line, and the area below it", () => {
  const series = new Series();
  for (const [at, rate] of [[100, 5], [101, 10], [102, 0]]) series.add(at, rate);

  assert.equal(series.peak, 10);
  assert.deepEqual(series.paths(102), {
    line: "M58 13L59 2L60 24",
    area: "M58 24L58 13L59 2L60 24L60 24Z",
  });
});

test("more than one a second are not kept, and none that is older than a minute", () => {
  const series = new Series();
  for (let at = 0; at < 200; at += 0.5) series.add(at, 1);

  const points = series.paths(199).line.slice(1).split("L");
  assert.ok(points.length <= 61, `${points.length} points`);
  assert.ok(points.every((point) => Number(point.split(" ")[0]) >= 0));
});

test("an unknown rate, or a sleep, is a gap and no line through it", () => {
  const series = new Series();
  for (const at of [1, 2, 3]) series.add(at, 4);
  series.add(4, null);
  for (const at of [20, 21]) series.add(at, 4);

  assert.equal(series.paths(21).line.match(/M/g)?.length, 2);
});

test("there is nothing to see of one rate, or of none that is above zero", () => {
  const series = new Series();
  series.add(1, 7);
  assert.deepEqual(series.paths(1), { line: "", area: "" });

  const idle = new Series();
  for (const at of [1, 2, 3]) idle.add(at, 0);
  assert.deepEqual(idle.paths(3), { line: "", area: "" });
});
