/** Finding and changing elements: only what changed is written, and layout is never read. */

/**
 * @template {Element} [E=HTMLElement]
 * @param {string} id
 * @returns {E}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no #${id}`);
  return /** @type {E} */ (/** @type {unknown} */ (element));
}

/** @param {string} id @returns {any} the content of a JSON data block */
export function data(id) {
  return JSON.parse(byId(id).textContent ?? "null");
}

/**
 * @param {ParentNode} root of a task, or of a part of it
 * @param {string} [attribute] what names them; parts within parts have another
 * @returns {Map<string, Element>} its elements by name, without those of tasks in a list within
 */
export function partsOf(root, attribute = "data-part") {
  /** @type {Map<string, Element>} */
  const parts = new Map();
  const within = root.querySelector("[data-task-id]")?.parentElement ?? null;
  for (const element of root.querySelectorAll(`[${attribute}]`)) {
    if (!within?.contains(element)) parts.set(element.getAttribute(attribute) ?? "", element);
  }
  return parts;
}

/** @param {string} templateId @returns {HTMLElement} a copy of the template's one element */
export function fromTemplate(templateId) {
  const template = /** @type {HTMLTemplateElement} */ (byId(templateId));
  const first = template.content.firstElementChild;
  if (first === null) throw new Error(`#${templateId} is empty`);
  return /** @type {HTMLElement} */ (document.importNode(first, true));
}

/** Writes what differs from the last write. */
export class Writer {
  /** @type {WeakMap<Element, Map<string, string | null>>} */
  #written = new WeakMap();

  /** @param {Element | undefined} element @param {string} text */
  text(element, text) {
    if (element !== undefined && this.#news(element, "", text)) element.textContent = text;
  }

  /** @param {Element | undefined} element @param {string} name @param {string | null} value */
  attribute(element, name, value) {
    if (element === undefined || !this.#news(element, name, value)) return;
    if (value === null) element.removeAttribute(name);
    else element.setAttribute(name, value);
  }

  /** @param {Element | undefined} element @param {string} name @param {boolean} on */
  flag(element, name, on) {
    this.attribute(element, name, on ? "" : null);
  }

  /** @param {Element} element @param {string} key @param {string | null} value */
  #news(element, key, value) {
    let seen = this.#written.get(element);
    if (seen === undefined) this.#written.set(element, (seen = new Map()));
    if (seen.get(key) === value && seen.has(key)) return false;
    seen.set(key, value);
    return true;
  }
}
