/** From what stands in a form's fields to arguments as JSON values. Pure. */

/**
 * @typedef {object} Field
 * @property {string} name
 * @property {string} kind string, integer, number, boolean, enum, array or object
 * @property {boolean} required
 * @property {string} raw what stands in it; of an enum the JSON of the chosen value
 * @property {boolean} [checked] of a checkbox
 */

/** A field that does not hold what it must. */
export class FieldError extends Error {
  /** @param {string} field @param {string} message */
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

/**
 * Read a form's fields. An empty one that is not required is left out, so its default holds.
 * @param {Field[]} fields
 * @returns {Record<string, unknown>} the arguments
 * @throws {FieldError} for the first field that cannot be read
 */
export function readArguments(fields) {
  /** @type {[string, unknown][]} */
  const entries = [];
  for (const field of fields) {
    const value = readField(field);
    if (value !== undefined) entries.push([field.name, value]);
  }
  return Object.fromEntries(entries);
}

/** @param {Field} field @returns {unknown} undefined: leave it out */
function readField(field) {
  if (field.checked !== undefined) return field.checked;
  if (field.raw.trim() === "") {
    if (field.required) throw new FieldError(field.name, "This is needed.");
    return undefined;
  }
  switch (field.kind) {
    case "integer":
    case "number":
      return readNumber(field);
    case "boolean":
    case "enum":
    case "array":
    case "object":
      return readJson(field);
    default:
      return field.raw;
  }
}

/** @param {Field} field @returns {number} */
function readNumber(field) {
  const value = Number(field.raw);
  if (!Number.isFinite(value)) throw new FieldError(field.name, "This must be a number.");
  if (field.kind === "integer" && !Number.isInteger(value)) {
    throw new FieldError(field.name, "This must be a whole number.");
  }
  return value;
}

/** @param {Field} field @returns {unknown} */
function readJson(field) {
  try {
    return JSON.parse(field.raw);
  } catch {
    throw new FieldError(field.name, `This must be JSON, such as ${sample(field.kind)}.`);
  }
}

/** @param {string} kind @returns {string} */
function sample(kind) {
  return kind === "array" ? '["a", "b"]' : kind === "object" ? '{"a": 1}' : "true";
}
