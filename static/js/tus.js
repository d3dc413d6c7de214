/** A resumable upload: tus 1.0 over whatever sends requests. Pure. */

/**
 * @typedef {object} Request
 * @property {string} method
 * @property {string} url
 * @property {Record<string, string>} headers
 * @property {Blob} [body]
 */

/**
 * @typedef {object} Answer
 * @property {number} status
 * @property {(name: string) => string | null} header
 * @property {string} message what the server says of an error
 * @property {string} [field] the argument that is to blame
 */

/**
 * @typedef {object} Options
 * @property {string} url where uploads are created
 * @property {Record<string, string>} metadata
 * @property {(request: Request, onSent: (bytes: number) => void, signal: AbortSignal) => Promise<Answer>} send
 *   rejects when there is no answer
 * @property {(seconds: number) => Promise<void>} wait
 * @property {(bytes: number) => void} onSent
 * @property {(location: string) => void} onCreated
 * @property {(offline: boolean) => void} onOffline
 */

const VERSION = { "Tus-Resumable": "1.0.0" };
const FIRST_WAIT_S = 0.5;
const LONGEST_WAIT_S = 15;

/** The server refuses the upload: it will not be whole. */
export class UploadError extends Error {
  /** @param {string} message @param {string} [field] the argument that is to blame */
  constructor(message, field) {
    super(message);
    this.field = field;
  }
}

/** One file on its way. */
export class TusUpload {
  #file;
  #options;
  #location = "";
  /** @type {number | null} bytes that the server has; null when it has to be asked */
  #offset = 0;
  #abort = new AbortController();
  #paused = false;
  #stopped = false;
  /** @type {() => void} */
  #goOn = () => {};

  /** @param {Blob} file @param {Options} options */
  constructor(file, options) {
    this.#file = file;
    this.#options = options;
  }

  /** @returns {boolean} */
  get paused() {
    return this.#paused;
  }

  /**
   * Send the file to its end, through pauses and lost connections.
   * @returns {Promise<boolean>} false if it was given up
   * @throws {UploadError} the server refuses it
   */
  async run() {
    let waitS = FIRST_WAIT_S;
    while (!this.#stopped) {
      if (this.#paused) await new Promise((goOn) => (this.#goOn = () => goOn(undefined)));
      const before = this.#offset;
      try {
        if (await this.#next()) return true;
        this.#options.onOffline(false);
        if (this.#offset !== before) waitS = FIRST_WAIT_S;
      } catch (error) {
        if (error instanceof UploadError) throw error;
        this.#offset = this.#location === "" ? 0 : null;
        if (this.#paused || this.#stopped) continue;
        this.#options.onOffline(true);
        await this.#options.wait(waitS);
        waitS = Math.min(waitS * 2, LONGEST_WAIT_S);
      }
    }
    return false;
  }

  pause() {
    this.#paused = true;
    this.#abort.abort();
  }

  resume() {
    this.#paused = false;
    this.#abort = new AbortController();
    this.#goOn();
  }

  /** Give the upload up; the server forgets what it has of it. */
  async stop() {
    this.#stopped = true;
    this.#abort.abort();
    this.#goOn();
    if (this.#location === "") return;
    this.#abort = new AbortController();
    await this.#send("DELETE", this.#location, {}).catch(() => {});
  }

  /** @returns {Promise<boolean>} whether the server has it all */
  async #next() {
    if (this.#location === "") return this.#create();
    if (this.#offset === null) return this.#ask();
    return this.#sendRest(this.#offset);
  }

  async #create() {
    const pairs = Object.entries(this.#options.metadata);
    const answer = await this.#send("POST", this.#options.url, {
      "Upload-Length": String(this.#file.size),
      "Upload-Metadata": pairs.map(([name, value]) => `${name} ${base64(value)}`).join(","),
    });
    this.#location = answer.header("Location") ?? "";
    if (this.#location === "") throw new UploadError("The server named no place for the upload.");
    this.#options.onCreated(this.#location);
    return this.#file.size === 0;
  }

  async #ask() {
    const answer = await this.#send("HEAD", this.#location, {});
    this.#offset = Number(answer.header("Upload-Offset"));
    this.#options.onSent(this.#offset);
    return this.#offset >= this.#file.size;
  }

  /** @param {number} offset */
  async #sendRest(offset) {
    const headers = {
      "Upload-Offset": String(offset),
      "Content-Type": "application/offset+octet-stream",
    };
    const rest = this.#file.slice(offset);
    const answer = await this.#send("PATCH", this.#location, headers, rest, (sent) =>
      this.#options.onSent(offset + sent),
    );
    this.#offset = Number(answer.header("Upload-Offset"));
    this.#options.onSent(this.#offset);
    return this.#offset >= this.#file.size;
  }

  /**
   * @param {string} method
   * @param {string} url
   * @param {Record<string, string>} headers
   * @param {Blob} [body]
   * @param {(bytes: number) => void} [onSent]
   */
  async #send(method, url, headers, body, onSent = () => {}) {
    const request = { method, url, headers: { ...VERSION, ...headers }, ...(body ? { body } : {}) };
    const answer = await this.#options.send(request, onSent, this.#abort.signal);
    if (answer.status >= 200 && answer.status < 300) return answer;
    if (answer.status === 409 || answer.status === 429 || answer.status >= 500) {
      throw new Error(answer.message); // asked again later, from where the server is
    }
    if (answer.status === 404 || answer.status === 410) {
      throw new UploadError("The server does not keep this upload any more: start it again.");
    }
    const message = answer.message || `The server refused it (${answer.status}).`;
    throw new UploadError(message, answer.field);
  }
}

/** @param {string} text @returns {string} its UTF-8 in Base64 */
export function base64(text) {
  const bytes = new TextEncoder().encode(text);
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}
