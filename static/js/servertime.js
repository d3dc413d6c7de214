/** The server's clock, which tells the age of what it says; the browser's may be wrong. */

import { data } from "./dom.js";

const aheadS = data("page").now - Date.now() / 1000;

/** @returns {number} Unix seconds */
export function serverNow() {
  return Date.now() / 1000 + aheadS;
}
