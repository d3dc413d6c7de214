/** `<task-progress task-id src token>`: one task, live, in any page. */

import { ElementView } from "./element-view.js";
import { ended } from "./format.js";
import { nextFrame, slowly } from "./frame.js";
import { join } from "./links.js";
import { Milestones } from "./milestones.js";

/** @typedef {import("./types.js").Task} Task */

const NAME = "task-progress";
const ATTRIBUTES = ["task-id", "src", "token"];
/** @type {Set<TaskProgress>} */
const shown = new Set();
let ownServer = "";

/**
 * The element. It has the attributes `status`, the task's, and `connection` (`connecting`, `live`,
 * `reconnecting`, `refused`, `unknown`), for the page's style sheet, and fires `progress` with each
 * state and `end` with the last, the state as the event's `detail`.
 */
export class TaskProgress extends HTMLElement {
  static observedAttributes = ATTRIBUTES;
  #view = new ElementView(this.attachShadow({ mode: "open" }));
  /** @type {Task | null} */
  #task = null;
  /** @type {Milestones | null} */
  #milestones = null;
  #aheadS = 0;
  #leave = () => {};
  #asked = "";
  #waits = false;

  /** @returns {Task | null} the newest state that is known */
  get task() {
    return this.#task;
  }

  connectedCallback() {
    shown.add(this);
    this.#soon();
  }

  disconnectedCallback() {
    shown.delete(this);
    this.#soon();
  }

  attributeChangedCallback() {
    this.#soon();
  }

  /** Paint what moves with time. */
  tick() {
    if (this.#task !== null && !ended(this.#task)) this.#view.tick(this.#task, this.#now());
  }

  /** Look once at all that changed in this turn. */
  #soon() {
    if (this.#waits) return;
    this.#waits = true;
    queueMicrotask(() => {
      this.#waits = false;
      this.#renew();
    });
  }

  #renew() {
    const [taskId, src, token] = ATTRIBUTES.map((name) => this.getAttribute(name)?.trim() ?? "");
    const server = this.isConnected && taskId !== "" ? base(src) : null;
    const asked = server === null ? "" : JSON.stringify([taskId, server, token]);
    if (asked === this.#asked && asked !== "") return;
    this.#asked = asked;
    this.#leave();
    this.#leave = () => {};
    if (!this.isConnected) return;
    this.#forget();
    if (server === null) {
      if (taskId !== "") this.#say("refused", `${src} is not the address of a server.`);
      return;
    }
    this.#leave = join(server, token, taskId, {
      state: (task, aheadS) => {
        this.#aheadS = aheadS;
        this.#take(task);
      },
      sign: (sign, message) => this.#say(sign, message),
      unknown: () => {
        this.#forget();
        this.#say("unknown", "There is no such task, or none that is shown here.");
      },
    });
  }

  /** @param {Task} task */
  #take(task) {
    const before = this.#task;
    this.#task = task;
    this.#milestones ??= new Milestones(task);
    const news = this.#milestones.next(task, performance.now());
    if (news !== null) this.#view.announce(news);
    this.setAttribute("status", task.status);
    if (this.getAttribute("connection") === "unknown") this.#say("live", "");
    nextFrame(this, () => {
      if (this.#task !== null) this.#view.show(this.#task, this.#now());
    });
    this.#fire("progress", task);
    if (ended(task) && (before === null || !ended(before))) this.#fire("end", task);
  }

  /** @returns {number} the server's time */
  #now() {
    return Date.now() / 1000 + this.#aheadS;
  }

  #forget() {
    this.#task = null;
    this.#milestones = null;
    this.removeAttribute("status");
    this.#view.empty();
  }

  /** @param {string} connection @param {string} message */
  #say(connection, message) {
    this.setAttribute("connection", connection);
    this.#view.note(message);
  }

  /** @param {string} type @param {Task} task */
  #fire(type, task) {
    this.dispatchEvent(new CustomEvent(type, { detail: task, bubbles: true, composed: true }));
  }
}

/** @param {string} src @returns {string | null} the server's base URL with its last slash */
function base(src) {
  try {
    const url = new URL(src === "" ? ownServer : src, document.baseURI);
    if (!url.protocol.startsWith("http")) return null;
    url.search = url.hash = "";
    if (!url.pathname.endsWith("/")) url.pathname += "/";
    return url.href;
  } catch {
    return null;
  }
}

/** @param {string} server where the script came from: the default of `src` */
export function define(server) {
  ownServer = server;
  if (customElements.get(NAME) !== undefined) return;
  customElements.define(NAME, TaskProgress);
  slowly(() => {
    for (const element of shown) element.tick();
  });
}
