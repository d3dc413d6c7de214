// index.html#task=ID&token=TOKEN shows that task; what is behind the # stays in the browser.
const asked = new URLSearchParams(location.hash.slice(1));
const bar = document.getElementById("bar");
for (const [attribute, name] of [["task-id", "task"], ["token", "token"], ["src", "src"]]) {
  if (asked.has(name)) bar.setAttribute(attribute, asked.get(name));
}
bar.addEventListener("end", (event) => {
  document.getElementById("last").textContent = `It is over: ${event.detail.status}.`;
});
