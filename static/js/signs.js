/** What the page says about itself: the connection, news for screen readers, alerts. */

import { byId } from "./dom.js";

/** @typedef {import("./connection.js").Sign} Sign */

const WORDS = { live: "live", reconnecting: "reconnecting", refused: "disconnected" };
/** @type {Sign | null} */
let shown = null;
let asOf = "";

/** @param {Sign} sign @param {string} message show the state of the connection */
export function showConnection(sign, message) {
  if (shown !== null && sign !== shown) announce(sign === "live" ? "Connected again" : message);
  if (shown === "live" && sign !== "live") {
    asOf = ` What you see is as of ${new Date().toLocaleTimeString()}.`;
  }
  shown = sign;
  const box = document.getElementById("connection");
  if (box !== null) {
    box.hidden = false;
    box.dataset.state = sign;
    byId("connection-word").textContent = WORDS[sign];
  }
  const offline = byId("offline");
  offline.hidden = sign === "live";
  const text = sign === "live" ? "" : `${message}${asOf} `;
  if (offline.textContent !== text) offline.textContent = text;
  if (sign === "refused") offline.append(signInLink());
  document.body.toggleAttribute("data-offline", sign !== "live");
}

/** @returns {HTMLAnchorElement} to this page, for which the server asks who is there */
function signInLink() {
  const link = document.createElement("a");
  link.href = location.pathname + location.search;
  link.textContent = "Sign in again";
  return link;
}

/** @param {string} sentence said politely, once */
export function announce(sentence) {
  byId("announcer").textContent = sentence;
}

/** @param {string} sentence of a task that failed, said at once; the page shows it where it is */
export function announceFailure(sentence) {
  byId("failure").textContent = sentence;
}

/** @param {string} message of an error @returns {string} as a sentence */
export function sentence(message) {
  const stop = /[.!?…]$/.test(message) ? "" : ".";
  return message.slice(0, 1).toUpperCase() + message.slice(1) + stop;
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

/** @param {HTMLButtonElement} button copy all the texts beside it */
async function copyBeside(button) {
  const sources = button.parentElement?.querySelectorAll("pre, .error-line") ?? [];
  const texts = Array.from(sources, (source) => source.textContent ?? "");
  await copyText(texts.filter((text) => text !== "").join("\n"), button);
}

/** @param {string} text @param {HTMLButtonElement} button is marked when it is done */
export async function copyText(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    announce("Copied");
    button.dataset.done = "";
  } catch {
    alertUser("The browser did not allow copying.");
  }
}
