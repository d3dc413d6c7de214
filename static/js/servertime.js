/** The server's clock, which tells the age of what it says; the browser's may be wrong. */

import { data } from "./dom.js";

const OF_A_HOST = "socketprogress-page";
const block = document.getElementById(OF_A_HOST) === null ? "page" : OF_A_HOST;
const aheadS = data(block).now - Date.now() / 1000;

/** @returns {number} Unix seconds */
export function serverNow() {
  return Date.now() / 1000 + aheadS;
}
