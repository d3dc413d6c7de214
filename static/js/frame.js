/** One batch of writes a frame, and a slow clock for what need not be painted at every update. */

const SLOW_MS = 500;
const FRAME_MS = 16;
const REST_TIMES = 23;
const LONGEST_REST_MS = 400;
const LEFT_REST_MS = 220; // when a batch has left some of its work to the next one

/** @type {Map<object, () => void>} */
const waiting = new Map();
let asked = false;
let restUntil = 0;
let began = 0;
let longestRestMs = LONGEST_REST_MS;
const painted = new MessageChannel();
painted.port1.onmessage = () => {
  const now = performance.now();
  restUntil = now + Math.min((now - began) * REST_TIMES, longestRestMs);
  asked = false;
  if (waiting.size > 0) ask();
};

/**
 * Run `paint` in the next frame; a later one for the same `key` replaces it. After a batch that was
 * a lot of work, the browser's own for it included, the next one waits some frames: a page of many
 * bars leaves the processor to others. What a paint asks for is of a later frame, after such a rest.
 * @param {object} key
 * @param {() => void} paint
 */
export function nextFrame(key, paint) {
  waiting.set(key, paint);
  if (!asked) ask();
}

function ask() {
  asked = true;
  const restMs = restUntil - performance.now() - FRAME_MS;
  if (restMs > 0) setTimeout(() => requestAnimationFrame(run), restMs);
  else requestAnimationFrame(run);
}

function run() {
  began = performance.now();
  const batch = [...waiting.values()];
  waiting.clear();
  try {
    for (const paint of batch) paint();
  } finally {
    longestRestMs = waiting.size > 0 ? LEFT_REST_MS : LONGEST_REST_MS;
    painted.port2.postMessage(null); // comes when the frame is laid out and painted
  }
}

/**
 * @param {() => void} tick called while the page is visible
 * @param {number} [everyMs]
 */
export function slowly(tick, everyMs = SLOW_MS) {
  setInterval(() => {
    if (!document.hidden) nextFrame(tick, tick);
  }, everyMs);
}
