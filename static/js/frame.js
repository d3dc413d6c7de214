/** One batch of writes a frame, and a slow clock for what need not be painted at every update. */

const SLOW_MS = 500;

/** @type {Map<object, () => void>} */
const waiting = new Map();
let asked = false;

/**
 * Run `paint` in the next frame; a later one for the same `key` replaces it.
 * @param {object} key
 * @param {() => void} paint
 */
export function nextFrame(key, paint) {
  waiting.set(key, paint);
  if (asked) return;
  asked = true;
  requestAnimationFrame(run);
}

function run() {
  asked = false;
  const batch = [...waiting.values()];
  waiting.clear();
  for (const paint of batch) paint();
}

/** @param {() => void} tick called twice a second while the page is visible */
export function slowly(tick) {
  setInterval(() => {
    if (!document.hidden) nextFrame(tick, tick);
  }, SLOW_MS);
}
