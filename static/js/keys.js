/** Single keys as short cuts. They can be turned off, and never act where somebody types. */

import { byId } from "./dom.js";
import { pref, setPref } from "./prefs.js";

const TYPING = "input, textarea, select, [contenteditable]";
let on = pref("keys", "on") === "on";

/** @param {Record<string, () => void>} bindings what each key does; "?" shows them all */
export function enableKeys(bindings) {
  const all = /** @type {Record<string, () => void>} */ ({ ...bindings, "?": showHelp });
  document.addEventListener("keydown", (event) => {
    if (!on || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const target = /** @type {Element} */ (event.target);
    if (target.closest(TYPING) !== null || document.querySelector("dialog[open]") !== null) return;
    if (!Object.hasOwn(all, event.key)) return;
    event.preventDefault();
    all[event.key]();
  });
  const button = byId("help");
  button.hidden = false;
  button.addEventListener("click", showHelp);
  const box = /** @type {HTMLInputElement} */ (byId("keys-on"));
  box.checked = on;
  box.addEventListener("change", () => {
    on = box.checked;
    setPref("keys", on ? "on" : "off");
  });
}

function showHelp() {
  /** @type {HTMLDialogElement} */ (byId("help-dialog")).showModal();
}

/** @param {ParentNode | null | undefined} root press the Cancel that is in it, if it can be pressed */
export function pressCancel(root) {
  const form = /** @type {HTMLFormElement | null | undefined} */ (
    root?.querySelector('form[data-action="cancel"]:not([hidden])')
  );
  form?.requestSubmit();
}
