/** What this browser's user has chosen, kept in the browser, where it may be kept. */

const PREFIX = "socketprogress.";

/** @param {string} name @param {string} fallback @returns {string} */
export function pref(name, fallback) {
  try {
    return localStorage.getItem(PREFIX + name) ?? fallback;
  } catch {
    return fallback;
  }
}

/** @param {string} name @param {string} value */
export function setPref(name, value) {
  try {
    localStorage.setItem(PREFIX + name, value);
  } catch {
    // Then it holds for this page alone.
  }
}
