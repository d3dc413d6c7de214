/** The fields of arguments in a form or a part of it, as forms.html draws them. */

/** @typedef {import("./fields.js").Field} Field */

/** @param {HTMLElement} within @returns {Field[]} what stands in its fields */
export function fieldsOf(within) {
  const boxes = /** @type {NodeListOf<HTMLElement>} */ (within.querySelectorAll("[data-field]"));
  return Array.from(boxes, (box) => {
    const control = controlIn(box);
    return {
      name: box.dataset.field ?? "",
      kind: box.dataset.kind ?? "string",
      required: "required" in box.dataset,
      raw: rawOf(control),
      checked: control.type === "checkbox" ? control.checked : undefined,
    };
  });
}

/** @param {HTMLElement} within */
export function clearErrors(within) {
  for (const line of within.querySelectorAll(".field-error")) line.textContent = "";
  for (const control of within.querySelectorAll("[aria-invalid]")) {
    control.removeAttribute("aria-invalid");
  }
}

/**
 * Say what is wrong with a field, at it, and go there.
 * @param {HTMLElement} within
 * @param {string | undefined} field its name, or a path into its value
 * @param {string} message
 * @returns {boolean} whether the field is there
 */
export function showFieldError(within, field, message) {
  const name = field?.split(/[.[]/)[0] ?? "";
  const box = within.querySelector(`[data-field="${CSS.escape(name)}"]`);
  const line = box?.querySelector(".field-error") ?? null;
  if (box === null || line === null) return false;
  line.textContent = message;
  const control = controlIn(box);
  control.setAttribute("aria-invalid", "true");
  control.focus();
  return true;
}

/** @param {HTMLInputElement} control @returns {string} */
function rawOf(control) {
  const chosen = control instanceof HTMLSelectElement ? control.selectedOptions[0] : null;
  return chosen === null ? control.value : (chosen?.dataset.json ?? "");
}

/** @param {Element} box @returns {HTMLInputElement} also stands for a select and a textarea */
function controlIn(box) {
  const control = box.querySelector("input, select, textarea");
  return /** @type {HTMLInputElement} */ (control);
}
