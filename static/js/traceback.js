/** The traceback that ends a log. Pure. The server's taskpage.py says the same. */

const TRACEBACK = "Traceback (most recent call last):";
const CHAINED = new Set([
  "During handling of the above exception, another exception occurred:",
  "The above exception was the direct cause of the following exception:",
]);

/**
 * @param {readonly string[]} lines
 * @returns {string} with those tracebacks that it was raised in place of; "" if there is none
 */
export function tracebackOf(lines) {
  const starts = [...lines.keys()].filter((number) => lines[number] === TRACEBACK);
  let start = starts.pop();
  if (start === undefined) return "";
  for (let before = starts.pop(); before !== undefined; before = starts.pop()) {
    if (!lines.slice(before, start).some((line) => CHAINED.has(line))) break;
    start = before;
  }
  return lines.slice(start).join("\n");
}
