/** The upload form: choose or drop a file, see it go, pause it, and go on after a lost connection. */

import { byId } from "./dom.js";
import { readArguments } from "./fields.js";
import { clearErrors, fieldsOf, showFieldError } from "./formfields.js";
import { size } from "./format.js";
import { nextFrame } from "./frame.js";
import { announce } from "./signs.js";
import { TusUpload, UploadError } from "./tus.js";

/** @typedef {import("./tus.js").Request} Request */
/** @typedef {import("./tus.js").Answer} Answer */

/**
 * Let the form send its file in pieces that survive a lost connection.
 * @param {(taskId: string) => HTMLAnchorElement} created called with the task's id; returns its link
 */
export function enableUpload(created) {
  const form = /** @type {HTMLFormElement | null} */ (document.getElementById("upload"));
  if (form !== null) new UploadForm(form, created);
}

class UploadForm {
  #form;
  #created;
  #task = /** @type {HTMLSelectElement} */ (byId("upload-task"));
  #file = /** @type {HTMLInputElement} */ (byId("upload-file"));
  #bar = /** @type {HTMLProgressElement} */ (byId("upload-bar"));
  #told = byId("upload-told");
  #error = byId("upload-error");
  #start = /** @type {HTMLButtonElement} */ (byId("upload-start"));
  #pause = /** @type {HTMLButtonElement} */ (byId("upload-pause"));
  #stop = /** @type {HTMLButtonElement} */ (byId("upload-stop"));
  /** @type {TusUpload | null} */
  #upload = null;
  #sent = 0;
  #offline = false;

  /** @param {HTMLFormElement} form @param {(taskId: string) => HTMLAnchorElement} created */
  constructor(form, created) {
    this.#form = form;
    this.#created = created;
    byId("upload-hint").hidden = false;
    form.noValidate = true;
    this.#task.addEventListener("change", () => this.#offer());
    this.#offer();
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#send();
    });
    this.#pause.addEventListener("click", () => this.#togglePause());
    this.#stop.addEventListener("click", () => void this.#upload?.stop());
    this.#takeDrops();
  }

  /** Take a file that is dropped anywhere on the page: a browser would leave the page for it. */
  #takeDrops() {
    const target = document.createElement("p");
    target.className = "drop-target";
    target.hidden = true;
    document.body.append(target);
    for (const name of /** @type {const} */ (["dragenter", "dragover"])) {
      addEventListener(name, (event) => {
        const carried = filesOf(event);
        if (carried === null) return;
        const busy = this.#upload !== null;
        carried.dropEffect = busy ? "none" : "copy";
        target.textContent = busy ? "One upload at a time" : "Drop the file to upload it";
        target.hidden = false;
      });
    }
    // What goes to nothing else leaves the page, or gives up; an open dialog keeps the cover from being told.
    addEventListener("dragleave", (event) => {
      if (event.relatedTarget === null) target.hidden = true;
    });
    addEventListener("drop", (event) => {
      target.hidden = true;
      const carried = filesOf(event);
      if (carried !== null && this.#upload === null) this.#take(carried);
    });
  }

  /** @param {DataTransfer} carried send its file, or ask for what its task needs to know first */
  #take(carried) {
    clearErrors(this.#form);
    this.#form.scrollIntoView({ block: "nearest" });
    if (carried.files.length !== 1 || carried.items[0].webkitGetAsEntry()?.isDirectory) {
      this.#refuse("Drop one file: pack several, or a folder, before.");
      return;
    }
    this.#file.files = carried.files;
    const first = /** @type {HTMLElement | null} */ (
      this.#form.querySelector("[data-chosen] :is(input, select, textarea)")
    );
    if (first === null) {
      void this.#send();
      return;
    }
    first.focus();
    announce(`${carried.files[0].name} is chosen`);
  }

  /** Show the arguments of the chosen task alone. */
  #offer() {
    for (const part of this.#form.querySelectorAll("details")) {
      const chosen = part.dataset.for === this.#task.value;
      part.toggleAttribute("data-chosen", chosen);
      part.open = chosen;
      part.hidden = !chosen;
    }
  }

  /** @returns {HTMLElement} where the chosen task's arguments are */
  #chosen() {
    return this.#form.querySelector("[data-chosen]") ?? this.#task;
  }

  /** @param {File} file @returns {Record<string, string>} what the server is told of it */
  #metadata(file) {
    const task = this.#task.value;
    if (task === "") return { filename: file.name };
    const args = JSON.stringify(readArguments(fieldsOf(this.#chosen())));
    return { filename: file.name, task, args };
  }

  async #send() {
    if (this.#upload !== null) return;
    clearErrors(this.#form);
    const file = this.#file.files?.[0];
    try {
      if (file === undefined) throw new UploadError("Choose a file.");
      await this.#sendFile(file, this.#metadata(file));
    } catch (error) {
      const { message, field } = /** @type {UploadError} */ (error);
      if (showFieldError(this.#chosen(), field, message)) return;
      this.#refuse(message);
    }
  }

  /** @param {string} message what is wrong with the file */
  #refuse(message) {
    this.#error.textContent = message;
    this.#file.setAttribute("aria-invalid", "true");
    this.#file.focus();
  }

  /** @param {File} file @param {Record<string, string>} metadata */
  async #sendFile(file, metadata) {
    this.#upload = new TusUpload(file, {
      url: this.#form.dataset.tus ?? "",
      metadata,
      send,
      wait: (seconds) => new Promise((over) => setTimeout(over, seconds * 1000)),
      onSent: (bytes) => this.#show(bytes, file.size),
      onCreated: (location) => this.#link(location),
      onOffline: (offline) => {
        this.#offline = offline;
        this.#show(this.#sent, file.size);
      },
    });
    this.#busy(true);
    this.#show(0, file.size);
    try {
      const whole = await this.#upload.run();
      announce(whole ? `${file.name} is uploaded` : "The upload was given up");
      const task = this.#task.value;
      this.#form.reset();
      this.#task.value = task; // the next file is mostly for the same
      this.#offer();
    } finally {
      this.#upload = null;
      this.#busy(false);
    }
  }

  /** @param {string} location */
  #link(location) {
    const link = this.#created(location.slice(location.lastIndexOf("/") + 1));
    byId("upload-started").replaceChildren("Its task: ", link);
  }

  #togglePause() {
    if (this.#upload?.paused) this.#upload.resume();
    else this.#upload?.pause();
    const paused = this.#upload?.paused ?? false;
    this.#pause.textContent = paused ? "Resume" : "Pause";
    announce(paused ? "Paused" : "Going on");
  }

  /** @param {boolean} busy */
  #busy(busy) {
    byId("upload-sending").hidden = !busy;
    this.#start.hidden = this.#file.disabled = this.#task.disabled = busy;
    this.#pause.hidden = this.#stop.hidden = !busy;
    if (!busy) {
      this.#start.focus();
      return;
    }
    this.#pause.textContent = "Pause";
    this.#pause.focus();
  }

  /** @param {number} bytes @param {number} total */
  #show(bytes, total) {
    this.#sent = bytes;
    nextFrame(this, () => {
      this.#bar.value = total === 0 ? 100 : (100 * bytes) / total;
      const line = `${size(bytes)} of ${size(total)}`;
      this.#told.textContent = this.#offline ? `Disconnected, trying again. ${line}` : line;
    });
  }
}

/** @param {DragEvent} event @returns {DataTransfer | null} null where it carries no files; else it is ours */
function filesOf(event) {
  const carried = event.dataTransfer;
  if (!carried?.types.includes("Files")) return null;
  event.preventDefault();
  return carried;
}

/**
 * @param {Request} request
 * @param {(bytes: number) => void} onSent
 * @param {AbortSignal} signal
 * @returns {Promise<Answer>}
 */
function send(request, onSent, signal) {
  return new Promise((answered, failed) => {
    const xhr = new XMLHttpRequest();
    xhr.open(request.method, request.url);
    for (const [name, value] of Object.entries(request.headers)) xhr.setRequestHeader(name, value);
    xhr.upload.addEventListener("progress", (event) => onSent(event.loaded));
    xhr.addEventListener("load", () => {
      answered({
        status: xhr.status,
        header: (name) => xhr.getResponseHeader(name),
        ...errorOf(xhr.responseText),
      });
    });
    for (const name of ["error", "abort", "timeout"]) {
      xhr.addEventListener(name, () => failed(new Error(name)));
    }
    if (signal.aborted) failed(new Error("abort"));
    signal.addEventListener("abort", () => xhr.abort());
    xhr.send(request.body ?? null);
  });
}

/** @param {string} text @returns {{message: string, field?: string}} what a JSON error says */
function errorOf(text) {
  try {
    const { message, field } = JSON.parse(text).error;
    return { message, field };
  } catch {
    return { message: "" };
  }
}
