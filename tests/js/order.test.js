import assert from "node:assert/strict";
import { test } from "node:test";

import { steady } from "../../static/js/order.js";

/** @param {string} ids */
const tasks = (ids) => [...ids].map((task_id) => ({ task_id }));
/** @param {string} shown @param {string} wanted */
const held = (shown, wanted) =>
  steady([...shown], /** @type {any} */ (tasks(wanted)))
    .map((task) => task.task_id)
    .join("");

test("what is shown stays where it is, though the true order is another", () => {
  assert.equal(held("abcd", "bcda"), "abcd");
});

test("what is new comes behind what it follows in the true order", () => {
  assert.equal(held("abc", "nbxcay"), "naybxc");
});

test("what is gone leaves, and nothing else moves", () => {
  assert.equal(held("abcd", "dba"), "abd");
});

test("an empty list takes the true order", () => {
  assert.equal(held("", "cab"), "cab");
});
