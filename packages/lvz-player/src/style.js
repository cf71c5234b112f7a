/** The element's style sheet, constructed so that a page's content policy needs no inline styles. */
export const sheet = () => {
  const made = new CSSStyleSheet();
  made.replaceSync(CSS);
  return made;
};

const CSS = `
:host { display: block; position: relative; background: #000; color: #fff; overflow: hidden; outline: none;
  font: 14px/1.4 system-ui, sans-serif; --accent: var(--lvz-accent, #e5484d); aspect-ratio: 16 / 9; width: 100%;
  user-select: none; -webkit-user-select: none; touch-action: manipulation; container-type: inline-size; }
:host([hidden]) { display: none; }
:host(:focus-visible) { box-shadow: 0 0 0 3px var(--accent); }
:host(:fullscreen) { width: 100vw; height: 100vh; aspect-ratio: auto; }
.picture { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; }
audio { display: none; }
.words { position: absolute; left: 50%; top: 50%; transform: translate(-50%, -50%); max-width: 90%; padding: .6em 1em;
  border-radius: 8px; background: rgb(0 0 0 / .75); text-align: center; white-space: pre-line; }
.words:empty, .note:empty, .text:empty { display: none; }
.note { position: absolute; left: 10px; top: 10px; padding: .2em .7em; border-radius: 6px; background: rgb(0 0 0 / .7); font-size: 12px; }
.text { position: absolute; left: 50%; bottom: 8%; transform: translateX(-50%); width: max-content; max-width: 90%; padding: .1em .5em;
  border-radius: 4px; background: rgb(0 0 0 / .7); font-size: clamp(13px, 3.4cqw, 34px); text-align: center; white-space: pre-line; }
.bar.on ~ .text { bottom: 74px; }
.spinner { position: absolute; left: 50%; top: 50%; width: 44px; height: 44px; margin: -22px; border: 4px solid rgb(255 255 255 / .25);
  border-top-color: #fff; border-radius: 50%; pointer-events: none;
  animation: turn 1s linear .8s infinite, wait .8s step-end; } /* what takes no longer needs none */
@keyframes turn { to { transform: rotate(1turn); } }
@keyframes wait { from, to { visibility: hidden; } }
.bar { position: absolute; inset: auto 0 0 0; padding: 28px 10px 6px; background: linear-gradient(transparent, rgb(0 0 0 / .8));
  opacity: 0; transition: opacity .2s; }
.bar.on, .bar:focus-within { opacity: 1; }
.row { display: flex; align-items: center; gap: 4px; flex-wrap: nowrap; }
.gap { flex: 1; }
button, select { appearance: none; border: 0; background: none; color: inherit; font: inherit; min-width: 40px; height: 40px; padding: 0 8px;
  border-radius: 6px; cursor: pointer; display: inline-grid; place-items: center; }
select { text-align: center; }
option { color: #000; background: #fff; }
button:hover, select:hover { background: rgb(255 255 255 / .16); }
button:focus-visible, select:focus-visible, input:focus-visible { outline: 2px solid #fff; outline-offset: 1px; }
button[aria-pressed="true"] svg { color: var(--accent); }
svg { width: 24px; height: 24px; fill: currentColor; display: block; }
.time { font-variant-numeric: tabular-nums; padding: 0 6px; white-space: nowrap; }
input[type=range] { appearance: none; margin: 0; height: 20px; background: none; cursor: pointer; --done: 0%; --there: 0%; }
input[type=range]::-webkit-slider-runnable-track { height: 5px; border-radius: 3px; background: linear-gradient(to right,
  var(--accent) var(--done), rgb(255 255 255 / .5) var(--done) var(--there), rgb(255 255 255 / .28) var(--there)); }
input[type=range]::-moz-range-track { height: 5px; border-radius: 3px; background: linear-gradient(to right,
  var(--accent) var(--done), rgb(255 255 255 / .5) var(--done) var(--there), rgb(255 255 255 / .28) var(--there)); }
input[type=range]::-webkit-slider-thumb { appearance: none; width: 15px; height: 15px; margin-top: -5px; border-radius: 50%; background: #fff; }
input[type=range]::-moz-range-thumb { width: 15px; height: 15px; border: 0; border-radius: 50%; background: #fff; }
.seek { width: 100%; display: block; }
.volume { width: 76px; }
.preview { position: absolute; bottom: 78px; width: 160px; transform: translateX(-50%); border-radius: 6px; background: #111; pointer-events: none;
  box-shadow: 0 2px 10px rgb(0 0 0 / .6); font-size: 12px; text-align: center; overflow: hidden; }
.preview[hidden], .spinner[hidden], .bar[hidden], [hidden] { display: none; }
.preview canvas { display: block; width: 100%; }
@container (max-width: 480px) { .volume { display: none; } button, select { min-width: 36px; padding: 0 4px; } .preview { width: 120px; } }
@container (max-width: 300px) { select { display: none; } }
@media (prefers-reduced-motion: reduce) { .bar { transition: none; } .spinner { animation-duration: 4s, .8s; } }
@media (forced-colors: active) { input[type=range] { appearance: auto; } }
`;
