// Why this exists: what only the browser can do: theme, shortcuts, the way back after a lost connection, clipboard. No framework, no inline scripts.
const dark = matchMedia('(prefers-color-scheme: dark)');
let layout = null;
let theme = 'system';

const cookie = (name, value) => { document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=lax`; };
const isDark = () => theme === 'dark' || (theme === 'system' && dark.matches);

function paint() {
  document.documentElement.dataset.theme = isDark() ? 'dark' : 'light';
  cookie('coclr-dark', isDark() ? '1' : '0');
  document.dispatchEvent(new CustomEvent('coclr-theme'));
}

export function attach(reference, initial) {
  layout = reference;
  theme = initial;
  paint();
  reference.invokeMethodAsync('SystemDark', isDark());
  requestAnimationFrame(doEarlyClick);
}

// What is shown first is drawn by the server and listens to nobody yet: a click on it is done as soon as the page does.
const alike = (tag, text, label) => [...document.querySelectorAll(tag)].filter(e => e.textContent.trim() === text && e.getAttribute('aria-label') === label);
let clicked = null;
document.addEventListener('click', event => {
  const part = event.target.closest?.('button');
  if (layout || !part || part.closest('form')) return;
  const asked = [part.tagName, part.textContent.trim(), part.getAttribute('aria-label')];
  clicked = { asked, at: alike(...asked).indexOf(part) };
}, true);

function doEarlyClick() {
  if (clicked) alike(...clicked.asked)[clicked.at]?.click();
  clicked = null;
}

export function setTheme(value) {
  theme = value;
  cookie('coclr-theme', value);
  paint();
  return isDark();
}

dark.addEventListener('change', () => {
  paint();
  layout?.invokeMethodAsync('SystemDark', isDark()).catch(() => {});
});

// Shortcuts: never while a person types, and only one dialog, menu or film has the keys at a time.
const pages = { e: '', c: 'compare', b: 'benchmarks', d: 'data', n: 'new', a: 'api' };
const open = '.mud-dialog, .mud-popover-open, dialog[open]';
let leader = 0;
document.addEventListener('keydown', event => {
  const typing = event.target.closest?.('input:not([type=checkbox]):not([type=range]), textarea, select, [contenteditable=true]');
  if (event.ctrlKey || event.metaKey || event.altKey || (typing && early.keys === null)) return;
  if (early.take(event) || typing) return;
  if (event.key === 'Escape') { layout?.invokeMethodAsync('Shortcut', 'escape').catch(() => {}); return; }
  if (document.querySelector(open)) return;
  const say = name => { event.preventDefault(); layout?.invokeMethodAsync('Shortcut', name).catch(() => {}); };
  if (leader && Date.now() - leader < 1200 && event.key in pages) { leader = 0; say('go:' + pages[event.key]); return; }
  leader = 0;
  switch (event.key) {
    case '?': say('help'); break;
    case '/': if (layout) early.start(); say('search'); break;
    case 't': say('theme'); break;
    case 'g': leader = Date.now(); break;
    case 'p': document.dispatchEvent(new CustomEvent('coclr-play')); break;
    case 'j': case 'k': moveRow(event, event.key === 'j' ? 1 : -1); break;
    case 'x': { const box = document.activeElement?.closest('tr')?.querySelector('input[type=checkbox]'); if (box) { event.preventDefault(); box.click(); } break; }
  }
});

// The dialog "Go to" comes from the server a moment after its key: what is typed meanwhile is meant for it, not for the page behind. The server is told once
// the burst has ended: while it answers the first letters, it would overwrite those that follow.
const early = {
  keys: null,
  last: 0,
  quiet: 150,
  start() {
    this.keys = '';
    this.last = Date.now();
    const until = Date.now() + 3000;
    const look = () => {
      if (this.keys === null) return;
      const field = document.querySelector('.goto input');
      if (field && Date.now() - this.last >= this.quiet) this.give(field);
      else if (field || Date.now() < until) requestAnimationFrame(look);
      else this.keys = null;
    };
    requestAnimationFrame(look);
  },
  give(field) {
    const keys = this.keys;
    this.keys = null;
    field.focus();
    if (!keys) return;
    field.value = keys;
    field.dispatchEvent(new InputEvent('input', { bubbles: true }));
  },
  take(event) {
    const field = document.querySelector('.goto input');
    if (this.keys === null) {
      if (!field || event.key.length !== 1) return false;
      field.focus();
      return true;
    }
    if (event.key.length !== 1 && event.key !== 'Backspace') {
      if (field) this.give(field);
      return field === null;
    }
    event.preventDefault();
    this.last = Date.now();
    this.keys = event.key === 'Backspace' ? this.keys.slice(0, -1) : this.keys + event.key;
    if (field) field.value = this.keys;
    return true;
  },
};

function moveRow(event, step) {
  const links = [...document.querySelectorAll('[data-rows] tbody tr td.name a, [data-rows] .row-link')];
  if (!links.length) return;
  event.preventDefault();
  const at = links.indexOf(document.activeElement);
  links[Math.max(0, Math.min(links.length - 1, at < 0 ? 0 : at + step))].focus();
}

// A lost connection: Blazor sets classes on the dialog; when the server has forgotten the page, the same address is loaded again, and the address is the state.
const modal = document.getElementById('components-reconnect-modal');
let waiting = false;
async function comeBack() {
  if (waiting) return;
  waiting = true;
  for (;;) {
    try {
      const answer = await fetch('healthz', { cache: 'no-store' });
      if (answer.ok || answer.status === 503) { location.reload(); return; }
    } catch { /* still away */ }
    await new Promise(done => setTimeout(done, 1000));
  }
}
modal?.addEventListener('components-reconnect-state-changed', event => {
  const state = event.detail?.state;
  modal.dataset.state = state;
  if (state === 'failed' || state === 'rejected') comeBack();
});
new MutationObserver(() => {
  if (modal.classList.contains('components-reconnect-failed') || modal.classList.contains('components-reconnect-rejected')) comeBack();
}).observe(modal, { attributes: true, attributeFilter: ['class'] });

window.coclr = {
  copy: text => navigator.clipboard?.writeText(text),
  reveal: selector => document.querySelector(selector)?.scrollIntoView({ block: 'nearest', inline: 'center' }),
};
