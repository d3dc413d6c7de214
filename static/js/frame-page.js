/** The bar in an iframe whose address holds a token behind its `#`, where no server sees it. */

import { byId, data } from "./dom.js";
import { define } from "./element.js";

const { task_id, src, told } = data("view");
const token = new URLSearchParams(location.hash.slice(1)).get("token");
const frame = byId("frame");

if (token === null || told !== "") {
  const reason = document.createElement("p");
  reason.setAttribute("role", "status");
  reason.textContent = told === "" ? "To show this bar its address needs a token." : `${told}.`;
  frame.append(reason);
} else {
  define(new URL(src, location.href).href);
  const bar = document.createElement("task-progress");
  bar.setAttribute("task-id", task_id);
  bar.setAttribute("token", token);
  frame.append(bar);
}
