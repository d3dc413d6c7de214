/** What is seen of a tab that is not looked at: its icon and its title. No frame is waited for. */

import { byId } from "./dom.js";

let title = document.title;

/** @param {string} text */
export function setTitle(text) {
  if (text !== title) document.title = title = text;
}

/** @param {"idle" | "active" | "completed" | "failed"} kind */
export function setFavicon(kind) {
  const link = /** @type {HTMLLinkElement} */ (byId("favicon"));
  const href = link.dataset[kind];
  if (href !== undefined && link.getAttribute("href") !== href) link.href = href;
}
