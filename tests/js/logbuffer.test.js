import assert from "node:assert/strict";
import { test } from "node:test";

import { LogBuffer } from "../../static/js/logbuffer.js";
import { frame } from "./frames.js";

test("pieces in a row are put together", () => {
  const log = new LogBuffer(100);
  const { offset, lines } = frame("task_log");
  log.reset(118, ["a", "b"]);

  assert.deepEqual(log.append(offset, lines), lines);

  assert.deepEqual(log.lines, ["a", "b", ...lines]);
  assert.equal(log.end, 123);
});

test("lines that are there already are not taken twice", () => {
  const log = new LogBuffer(100);
  log.reset(0, ["a", "b", "c"]);

  assert.deepEqual(log.append(1, ["b", "c", "d"]), ["d"]);
  assert.deepEqual(log.append(0, ["a"]), []);

  assert.deepEqual(log.lines, ["a", "b", "c", "d"]);
});

test("a piece after a gap waits until the gap is filled", () => {
  const log = new LogBuffer(100);
  log.reset(0, ["a"]);

  assert.equal(log.append(3, ["d"]), null);
  assert.deepEqual(log.append(1, ["b", "c", "d"]), ["b", "c", "d"]);
});

test("what is not kept any more is skipped", () => {
  const log = new LogBuffer(100);
  log.reset(0, ["a"]);

  log.skip(50);

  assert.deepEqual(log.append(50, ["z"]), ["z"]);
  assert.equal(log.start, 50);
});

test("only the newest lines are kept", () => {
  const log = new LogBuffer(3);
  log.reset(0, ["a", "b", "c", "d"]);
  assert.deepEqual([log.start, log.end], [1, 4]);

  log.append(4, ["e", "f"]);

  assert.deepEqual(log.lines, ["d", "e", "f"]);
  assert.deepEqual([log.start, log.end], [3, 6]);
});
