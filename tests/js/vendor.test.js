import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const folder = new URL("../../static/js/vendor/", import.meta.url);
const record = JSON.parse(readFileSync(new URL("vendor.json", folder), "utf8"));
const content = readFileSync(new URL(record.file, folder));

test("the vendored client is the very file that was recorded", () => {
  const digest = createHash("sha384").update(content).digest("base64");

  assert.equal(`sha384-${digest}`, record.sha384);
  assert.match(record.integrity, /^sha512-/);
});

test("the vendored client keeps its banner and its licence", () => {
  assert.match(content.toString().slice(0, 200), new RegExp(`Socket\\.IO v${record.version}`));
  const licence = new URL("../../licenses/socket.io-client.txt", import.meta.url);
  assert.match(readFileSync(licence, "utf8"), /The MIT License/);
});
