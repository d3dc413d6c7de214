import assert from "node:assert/strict";
import { test } from "node:test";

import { FieldError, readArguments } from "../../static/js/fields.js";

/** @param {string} kind @param {string} raw @param {object} [more] */
const field = (kind, raw, more = {}) => ({ name: "x", kind, raw, required: false, ...more });

test("texts become the values that the schema asks for", () => {
  const cases = [
    [field("string", " 42 "), " 42 "],
    [field("integer", "42"), 42],
    [field("number", "-1.5e3"), -1500],
    [field("enum", '"sha256"'), "sha256"],
    [field("enum", "3"), 3],
    [field("boolean", "false"), false],
    [field("boolean", "on", { checked: true }), true],
    [field("array", '["a"]'), ["a"]],
    [field("object", '{"a": null}'), { a: null }],
  ];
  for (const [given, expected] of cases) {
    assert.deepEqual(readArguments([/** @type {any} */ (given)]), { x: expected });
  }
});

test("an empty field is left out, so that its default holds", () => {
  for (const kind of ["string", "integer", "enum", "array", "boolean"]) {
    assert.deepEqual(readArguments([field(kind, "  ")]), {});
  }
});

test("an empty field that is needed names itself", () => {
  assert.throws(
    () => readArguments([field("string", "", { name: "path", required: true })]),
    (error) => error instanceof FieldError && error.field === "path",
  );
});

for (const [kind, raw] of [
  ["integer", "1.5"],
  ["integer", "many"],
  ["number", "Infinity"],
  ["object", "{a: 1}"],
]) {
  test(`${raw} is no ${kind}`, () => {
    assert.throws(() => readArguments([field(kind, raw)]), FieldError);
  });
}

test("an argument may have any name", () => {
  const args = readArguments([field("string", "y", { name: "__proto__" })]);

  assert.deepEqual(Object.keys(args), ["__proto__"]);
});
