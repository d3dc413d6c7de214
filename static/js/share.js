/** The dialog that brings a task's page to somebody else, or to one's own phone. */

import { byId } from "./dom.js";
import { alertUser, copyText, sentence } from "./signs.js";

const HERE_ALONE = /^(localhost|127\..*|0\.0\.0\.0|\[::1?\])$/;

/**
 * Make the link to the QR code open the dialog instead.
 * @param {string | null} tokenUrl where a link for watching is made, for who may make one
 */
export function enableSharing(tokenUrl) {
  const link = /** @type {HTMLAnchorElement} */ (byId("share"));
  const field = /** @type {HTMLInputElement} */ (byId("share-url"));
  const copy = /** @type {HTMLButtonElement} */ (byId("share-copy"));
  copy.hidden = navigator.clipboard === undefined;
  copy.addEventListener("click", () => void copyText(field.value, copy));
  const watch = /** @type {HTMLButtonElement} */ (byId("share-watch"));
  watch.hidden = tokenUrl === null;
  watch.addEventListener("click", () => void makeWatchLink(tokenUrl ?? "", field, watch));
  field.addEventListener("focus", () => field.select());
  const hereAlone = HERE_ALONE.test(location.hostname);
  byId("share-note").hidden = !hereAlone;
  byId("share-qr").hidden = hereAlone;
  link.setAttribute("role", "button");
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    field.value = location.origin + location.pathname;
    delete copy.dataset.done;
    delete watch.dataset.done;
    if (!hereAlone && byId("share-qr").childElementCount === 0) {
      byId("share-qr").append(imageOf(link.href));
    }
    /** @type {HTMLDialogElement} */ (byId("share-dialog")).showModal();
  });
}

/**
 * Put a link into the field that shows this one task to whoever has it, and copy it.
 * @param {string} tokenUrl
 * @param {HTMLInputElement} field
 * @param {HTMLButtonElement} button
 */
async function makeWatchLink(tokenUrl, field, button) {
  try {
    const answer = await fetch(tokenUrl, { method: "POST" });
    const made = await answer.json();
    if (!answer.ok) throw new Error(made.error.message);
    field.value = made.url;
    const until = new Date(made.expires_at * 1000).toLocaleDateString();
    byId("share-note").textContent = `Who has this link sees this task, and no other, until ${until}.`;
    byId("share-note").hidden = false;
    if (navigator.clipboard === undefined) field.select();
    else await copyText(made.url, button);
  } catch (error) {
    alertUser(`No link was made. ${sentence(/** @type {Error} */ (error).message)}`);
  }
}

/** @param {string} address @returns {HTMLImageElement} */
function imageOf(address) {
  const image = document.createElement("img");
  image.src = address;
  image.width = image.height = 200;
  image.alt = "QR code of this page's address";
  return image;
}
