/**
 * `<task-progress task-id src token>` for any page:
 * `<script src="https://server/static/js/task-progress.js"></script>`. It is a classic script, so
 * that a page of another origin can load it; the modules beside it do the work.
 */
(() => {
  const script = /** @type {HTMLScriptElement | null} */ (document.currentScript);
  if (script === null) {
    console.error("task-progress.js is a classic script: load it without type=module");
    return;
  }
  const server = script.src.replace(/static\/(~\w+\/)?js\/[^/]*$/, "");
  import(new URL("element.js", script.src).href).then(
    ({ define }) => define(server),
    (error) =>
      console.error(
        `task-progress: ${server} did not give its modules to this page; start it with`,
        `--origin ${location.origin}`,
        error,
      ),
  );
})();
