/** Whether somebody's pointer or keyboard is at a list: its rows had better not move then. */

const HOLD_MS = 4_000;

/** Holds a list for a few seconds after each sign of a hand. */
export class Hold {
  #until = 0;

  /** @param {HTMLElement} list */
  constructor(list) {
    const hold = () => (this.#until = performance.now() + HOLD_MS);
    for (const sign of ["pointermove", "pointerdown", "keydown", "focusin"]) {
      list.addEventListener(sign, hold, { passive: true });
    }
    list.addEventListener("pointerleave", () => (this.#until = 0));
  }

  /** @returns {boolean} */
  get on() {
    return performance.now() < this.#until;
  }
}
