import assert from "node:assert/strict";
import { test } from "node:test";

import { tracebackOf } from "../../static/js/traceback.js";

const FIRST = ["Traceback (most recent call last):", '  File "a.py", line 1', "KeyError: 1"];
const WHILE = ["", "During handling of the above exception, another exception occurred:", ""];
const LAST = ["Traceback (most recent call last):", '  File "b.py", line 2', "ValueError: 2"];

test("the traceback that ends a log is found", () => {
  assert.equal(tracebackOf(["one", "two", ...LAST]), LAST.join("\n"));
});

test("those that it was raised in place of belong to it", () => {
  const chain = [...FIRST, ...WHILE, ...LAST];

  assert.equal(tracebackOf(["one", ...chain]), chain.join("\n"));
});

test("one that was only logged, earlier, does not", () => {
  assert.equal(tracebackOf([...FIRST, "went on", ...LAST]), LAST.join("\n"));
});

test("a log without one has none", () => {
  assert.equal(tracebackOf(["all is well"]), "");
});
