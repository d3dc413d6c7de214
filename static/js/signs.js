/** What the page says about itself: the connection, news for screen readers, alerts. */

import { byId } from "./dom.js";

/** @typedef {import("./connection.js").Sign} Sign */

const WORDS = { live: "live", reconnecting: "reconnecting", refused: "disconnected" };
/** @type {Sign | null} */
let shown = null;

/** @param {Sign} sign @param {string} message show the state of the connection */
export function showConnection(sign, message) {
  if (shown !== null && sign !== shown) announce(sign === "live" ? "Connected again" : message);
  shown = sign;
  const box = document.getElementById("connection");
  if (box !== null) {
    box.hidden = false;
    box.dataset.state = sign;
    byId("connection-word").textContent = WORDS[sign];
  }
  const offline = byId("offline");
  if (offline.textContent !== message) offline.textContent = message;
  offline.hidden = sign === "live";
  document.body.toggleAttribute("data-offline", sign !== "live");
}

/** @param {string} sentence said politely, once */
export function announce(sentence) {
  byId("announcer").textContent = sentence;
}

/** @param {string} sentence of a task that failed, said at once; the page shows it where it is */
export function announceFailure(sentence) {
  byId("failure").textContent = sentence;
}

/** @param {string} sentence shown and said at once; "" takes it away */
export function alertUser(sentence) {
  const box = byId("alert");
  box.textContent = sentence;
  if (sentence === "") return;
  const close = document.createElement("button");
  close.className = "plain";
  close.textContent = "Dismiss";
  close.addEventListener("click", () => box.replaceChildren());
  box.append(" ", close);
}

/** Show the copy buttons where the browser lets us copy, and make them work. */
export function enableCopying() {
  if (navigator.clipboard === undefined) return;
  for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (
    document.querySelectorAll("button.copy")
  )) {
    button.hidden = false;
    button.addEventListener("click", () => void copyBeside(button));
  }
}

/** @param {HTMLButtonElement} button */
async function copyBeside(button) {
  const source = button.parentElement?.querySelector("pre, .error-line");
  try {
    await navigator.clipboard.writeText(source?.textContent ?? "");
    announce("Copied");
    button.dataset.done = "";
  } catch {
    alertUser("The browser did not allow copying.");
  }
}
