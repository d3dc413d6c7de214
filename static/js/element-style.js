/** The looks of `<task-progress>`: few, inheriting, and open to the page by parts and properties. */

const CSS = `
:host { display: block; font: inherit; color: inherit; }
:host([hidden]) { display: none; }
[hidden] { display: none !important; }
.head { display: flex; align-items: baseline; gap: 0.6em; margin: 0 0 0.35em; }
.status { flex: none; font-size: 0.85em; opacity: 0.85; }
.title { flex: 1; min-width: 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; font-weight: 600; }
.percent { flex: none; font-variant-numeric: tabular-nums; }
.bar { height: var(--task-progress-height, 0.6em); overflow: hidden; border-radius: 999px;
  background: var(--task-progress-track, color-mix(in srgb, currentColor 16%, transparent)); }
.fill { height: 100%; border-radius: inherit; background: var(--task-progress-color, #2f6fdb); }
.bar[data-status="completed"] .fill { background: var(--task-progress-completed, #1c8a4b); }
.bar[data-status="failed"] .fill { background: var(--task-progress-failed, #c8372d); }
.bar[data-status="cancelled"] .fill, .bar[data-status="lost"] .fill { background: var(--task-progress-idle, #8a8f98); }
.bar[data-indeterminate] .fill { width: 35% !important; animation: slide 1.6s ease-in-out infinite alternate; }
@keyframes slide { to { transform: translateX(186%); } }
.facts, .message, .note { margin: 0.35em 0 0; font-size: 0.85em; overflow-wrap: anywhere; }
.facts { display: flex; flex-wrap: wrap; gap: 0 1em; font-variant-numeric: tabular-nums; opacity: 0.85; }
.facts:not(:has(:not(:empty))), .message:empty, .note:empty { display: none; }
.unseen { position: absolute; width: 1px; height: 1px; margin: -1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (prefers-reduced-motion: reduce) { .bar[data-indeterminate] .fill { animation: none; } }
@media (forced-colors: active) { .bar { border: 1px solid; } .fill { background: Highlight !important; forced-color-adjust: none; } }
`;

/** @type {CSSStyleSheet | null} */
let sheet = null;

/** @returns {CSSStyleSheet} the one that all elements share */
export function style() {
  if (sheet === null) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
  }
  return sheet;
}
