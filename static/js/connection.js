/** The page's one connection: it comes back by itself, and never keeps a wish for later in secret. */

import { io } from "./vendor/socket.io.esm.min.js";

/** @typedef {import("./types.js").Page} Page */
/** @typedef {import("./types.js").Ack} Ack */
/** @typedef {import("./types.js").WireError} WireError */
/** @typedef {"live" | "reconnecting" | "refused"} Sign */

const ACK_TIMEOUT_MS = 10_000;
const CONNECT_MS = 8_000;
const ARRIVAL_MS = 10_000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const BEAT_MS = 2_000;
const ASLEEP_MS = 10_000;
const PROBE_MS = 3_000;
const PASSING = new Set(["no_answer", "rate_limited", "unavailable"]);

/** A request that the server refused, or that never reached it or its answer never us. */
export class RequestError extends Error {
  /** @param {WireError} error */
  constructor(error) {
    super(error.message);
    this.code = error.code;
    this.field = error.field;
  }
}

/** A Socket.IO connection with acks, back-off and watches that are renewed. */
export class Connection {
  #socket;
  #waitMs = FIRST_WAIT_MS;
  #timer = 0;
  /** @type {(() => Promise<void>)[]} */
  #watches = [];
  /** @type {() => void} ends the wait of those who were quicker than the first connection */
  #arrive = () => {};
  /** @type {Promise<void> | null} until the first connection, or its failure */
  #arriving = new Promise((arrive) => {
    this.#arrive = () => arrive(undefined);
  });
  /** @type {(sign: Sign, message: string) => void} */
  #onSign;

  #leaving = new AbortController();

  /**
   * @param {Pick<Page, "namespace" | "socket_path">} page
   * @param {(sign: Sign, message: string) => void} onSign called whenever the state changes
   * @param {{ origin?: string, token?: string }} [to] another server than the page's, and what it
   *   is shown in the cookie's stead
   */
  constructor(page, onSign, { origin = "", token = "" } = {}) {
    this.#onSign = onSign;
    this.#socket = io(origin + page.namespace, {
      path: page.socket_path,
      auth: { confirms: true, batches: true, ...(token === "" ? {} : { token }) },
      forceNew: true,
      transports: ["websocket", "polling"],
      tryAllTransports: true,
      timeout: CONNECT_MS,
      reconnectionDelay: FIRST_WAIT_MS,
      reconnectionDelayMax: LONGEST_WAIT_MS / 3,
      autoConnect: false,
    });
    // The server keeps no more on the way than the connection carries: it asks what has arrived.
    this.#socket.onAny((...args) => {
      const confirm = args.at(-1);
      if (typeof confirm === "function") confirm();
    });
    this.#socket.on("connect", () => this.#connected());
    this.#socket.on("disconnect", (reason) => this.#disconnected(reason));
    this.#socket.on("connect_error", (error) => this.#refused(error));
    const { signal } = this.#leaving;
    window.addEventListener("online", () => this.#soon(0), { signal });
    onWaking(() => void this.#woken(), signal);
  }

  /** @returns {boolean} whether a request can be sent now */
  get live() {
    return this.#socket.connected;
  }

  open() {
    this.#socket.connect();
  }

  /** Leave for good. */
  close() {
    this.#leaving.abort();
    clearTimeout(this.#timer);
    this.#watches = [];
    this.#socket.disconnect();
  }

  /** @param {string} event @param {(payload: any) => void} handler */
  on(event, handler) {
    this.#socket.on(event, handler);
    // The server puts the states of several tasks into one message, as a message costs more than a state.
    if (event === "progress_update") {
      this.#socket.on("progress_updates", (/** @type {unknown[]} */ states) => {
        for (const state of states) {
          try {
            handler(state);
          } catch (error) {
            reportError(error); // the others have their own
          }
        }
      });
    }
  }

  /** @param {() => Promise<void>} watch run now if connected, and on every connect from now on */
  watch(watch) {
    this.#watches.push(watch);
    if (this.live) this.#run(watch);
  }

  /**
   * Ask the server for something: now, with the page's first connection, or not at all.
   * @param {string} event
   * @param {unknown} [payload]
   * @returns {Promise<Ack>}
   * @throws {RequestError}
   */
  async request(event, payload) {
    if (this.#arriving !== null) {
      await Promise.race([this.#arriving, new Promise((late) => setTimeout(late, ARRIVAL_MS))]);
    }
    if (!this.live) {
      throw new RequestError({ code: "offline", message: "Disconnected: nothing was sent." });
    }
    const sending = this.#socket.timeout(ACK_TIMEOUT_MS);
    let ack;
    try {
      ack = await sending.emitWithAck(event, payload ?? null);
    } catch {
      throw new RequestError({ code: "no_answer", message: "The server did not answer." });
    }
    if (ack?.ok !== true) {
      throw new RequestError(ack?.error ?? { code: "unavailable", message: "No answer." });
    }
    return ack;
  }

  /** After a sleep the connection may be dead without knowing it: ask, and see all that was missed. */
  async #woken() {
    if (!this.live) {
      this.#waitMs = FIRST_WAIT_MS;
      this.#soon(0);
      return;
    }
    try {
      await this.#socket.timeout(PROBE_MS).emitWithAck("list_tasks", { limit: 1 });
      for (const watch of this.#watches) this.#run(watch);
    } catch {
      if (this.live) this.#socket.disconnect().connect();
    }
  }

  #connected() {
    this.#waitMs = FIRST_WAIT_MS;
    this.#arrived();
    this.#onSign("live", "");
    for (const watch of this.#watches) this.#run(watch);
  }

  #arrived() {
    this.#arriving = null;
    this.#arrive();
  }

  /** @param {() => Promise<void>} watch */
  #run(watch) {
    watch().catch((error) => {
      if (PASSING.has(error.code)) {
        setTimeout(() => this.live && this.#run(watch), this.#backOff());
      } else if (error.code !== "offline") {
        console.warn("a watch failed:", error.code, error.message);
      }
    });
  }

  /** @param {string} reason */
  #disconnected(reason) {
    this.#lost(reason === "io server disconnect");
  }

  /** @param {Error & { data?: { code?: string } }} error */
  #refused(error) {
    this.#arrived();
    const code = error.data?.code;
    if (code === "unauthorized" || code === "forbidden") {
      this.#onSign("refused", `Disconnected: ${error.message}.`);
      return;
    }
    this.#lost(!this.#socket.active);
  }

  /** @param {boolean} forGood whether the library will not connect again by itself */
  #lost(forGood) {
    if (this.#leaving.signal.aborted) return;
    this.#onSign("reconnecting", "Disconnected from the server. Reconnecting…");
    if (forGood) this.#soon(this.#backOff());
  }

  /** @returns {number} milliseconds, longer each time, spread so that pages do not come at once */
  #backOff() {
    this.#waitMs = Math.min(this.#waitMs * 2, LONGEST_WAIT_MS);
    return this.#waitMs * (0.5 + Math.random() / 2);
  }

  /** @param {number} waitMs */
  #soon(waitMs) {
    clearTimeout(this.#timer);
    if (this.#leaving.signal.aborted) return;
    this.#timer = window.setTimeout(() => {
      if (!this.live) this.#socket.connect();
    }, waitMs);
  }
}

/**
 * Call back when the page goes on after it was frozen, or its machine asleep: timers that are late
 * tell of it even where no event does.
 * @param {() => void} wake
 * @param {AbortSignal} signal ends it
 */
function onWaking(wake, signal) {
  let beatAt = Date.now();
  const look = () => {
    const now = Date.now();
    const slept = now - beatAt > ASLEEP_MS;
    beatAt = now;
    if (slept) wake();
  };
  const beat = setInterval(look, BEAT_MS);
  signal.addEventListener("abort", () => clearInterval(beat));
  document.addEventListener("visibilitychange", look, { signal });
  document.addEventListener("resume", wake, { signal });
  window.addEventListener("pageshow", (event) => event.persisted && wake(), { signal });
}
