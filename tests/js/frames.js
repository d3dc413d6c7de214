/** The golden wire frames. */

import { readFileSync } from "node:fs";

/** @param {string} name @returns {any} the frame's payload, a fresh one each time */
export function frame(name) {
  const file = new URL(`../frames/${name}.json`, import.meta.url);
  return JSON.parse(readFileSync(file, "utf8")).payload;
}
