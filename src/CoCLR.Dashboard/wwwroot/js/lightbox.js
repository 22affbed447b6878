// Why this exists: one clip large: RGB beside flow, in step, frame by frame, slow; arrows lead to its neighbours.
let box = null;
const state = { clips: [], at: 0, frame: 1 / 12 };
const name = clip => clip.querySelector('figcaption')?.title || clip.dataset.words || '';
const make = (tag, attributes, ...children) => {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) { if (key.startsWith('on')) element[key] = value; else element.setAttribute(key, value); }
  element.append(...children);
  return element;
};
const button = (label, text, act) => make('button', { type: 'button', 'aria-label': label, title: label, class: 'box-button', onclick: act }, text);

function build() {
  const film = view => make('figure', { class: 'box-film', 'data-view': view }, make('video', { muted: '', loop: '', playsinline: '', preload: 'auto', 'aria-label': view === 'rgb' ? 'RGB' : 'Flow' }), make('figcaption', {}, view === 'rgb' ? 'RGB' : 'Optical flow'));
  box = make('dialog', { class: 'lightbox', 'aria-labelledby': 'box-title' },
    make('header', {}, make('h2', { id: 'box-title' }), make('span', { class: 'box-what muted' }), make('span', { class: 'spacer' }), button('Close', '✕', () => box.close())),
    make('div', { class: 'box-films' }, button('Previous clip', '‹', () => go(-1)), film('rgb'), film('flow'), button('Next clip', '›', () => go(1))),
    make('div', { class: 'box-tools' },
      button('Frame back', '◂', () => step(-1)), button('Play or pause', '▶', toggle), button('Frame forward', '▸', () => step(1)),
      make('input', { type: 'range', min: '0', max: '1', step: 'any', value: '0', class: 'box-time', 'aria-label': 'Time', oninput: event => { pause(); films().forEach(v => { v.currentTime = event.target.value * (v.duration || 0); }); } }),
      make('output', { class: 'box-frame num' }),
      make('label', { class: 'field' }, 'Speed ', make('select', { onchange: event => films().forEach(v => { v.playbackRate = +event.target.value; }) }, ...[['0.1', '1/10'], ['0.25', '1/4'], ['0.5', '1/2'], ['1', '1'], ['2', '2']].map(([v, t]) => make('option', { value: v, ...(v === '1' ? { selected: '' } : {}) }, t)))),
      make('a', { class: 'box-query' }, 'Use as query')));
  box.addEventListener('keydown', key);
  box.addEventListener('click', event => { if (event.target === box) box.close(); });
  box.addEventListener('close', () => { films().forEach(v => { v.pause(); v.removeAttribute('src'); v.load(); }); state.clips[state.at]?.focus(); });
  document.body.append(box);
  const lead = films()[0];
  lead.addEventListener('timeupdate', show);
  lead.addEventListener('seeked', show);
  lead.addEventListener('loadedmetadata', show);
  for (const v of films()) {
    v.muted = true;
    v.addEventListener('error', () => { if (v.hasAttribute('src')) v.parentElement.hidden = true; });
    v.addEventListener('loadeddata', () => { v.parentElement.hidden = false; });
  }
  // The length of a frame is measured while the film plays: previews do not say it.
  if (lead.requestVideoFrameCallback) {
    let last = null;
    const see = (_, frame) => { const by = frame.mediaTime - last; if (last != null && by > .005 && by < .5) state.frame = by; last = frame.mediaTime; show(); lead.requestVideoFrameCallback(see); };
    lead.requestVideoFrameCallback(see);
  }
}

const films = () => [...box.querySelectorAll('video')];
const playing = () => films().some(v => !v.paused);
function pause() { films().forEach(v => v.pause()); show(); }
function toggle() { if (playing()) pause(); else { const at = films()[0].currentTime; films().forEach(v => { v.currentTime = at; v.play().catch(() => {}); }); show(); } }
function step(by) { pause(); const to = films()[0].currentTime + by * state.frame, end = films()[0].duration || 0; films().forEach(v => { v.currentTime = Math.max(0, Math.min(end - state.frame / 2, to)); }); }

function show() {
  const v = films()[0], end = v.duration || 0;
  box.querySelector('.box-time').value = end ? v.currentTime / end : 0;
  box.querySelector('.box-frame').textContent = end ? `frame ${Math.round(v.currentTime / state.frame) + 1} of ${Math.max(1, Math.round(end / state.frame))}` : '';
  box.querySelector('[aria-label="Play or pause"]').textContent = playing() ? '❚❚' : '▶';
}

function go(by) {
  const to = state.at + by;
  if (to < 0 || to >= state.clips.length) return;
  state.at = to;
  load();
}

function load() {
  const clip = state.clips[state.at], source = clip.querySelector('[data-src]')?.dataset.src ?? '', speed = +box.querySelector('select').value;
  const view = /\/clips\/(rgb|flow)\//, id = new URLSearchParams(source.split('?')[1]).get('id') ?? name(clip), run = source.match(/runs\/([^/]+)\//)?.[1] ?? '';
  box.querySelector('h2').textContent = id;
  box.querySelector('.box-what').textContent = clip.dataset.words ?? '';
  for (const v of films()) {
    v.parentElement.hidden = false;
    v.src = source.replace(view, `/clips/${v.parentElement.dataset.view}/`);
    v.playbackRate = speed;
    v.play().catch(() => {});
  }
  box.querySelector('[aria-label="Previous clip"]').disabled = state.at === 0;
  box.querySelector('[aria-label="Next clip"]').disabled = state.at === state.clips.length - 1;
  const query = box.querySelector('.box-query');
  query.hidden = !run;
  query.href = `experiments/${run}/retrieval?clip=${encodeURIComponent(id)}`;
  query.onclick = () => box.close();
  show();
}

function key(event) {
  const act = { ArrowLeft: () => go(-1), ArrowRight: () => go(1), ',': () => step(-1), '.': () => step(1), ' ': toggle }[event.key];
  if (!act || event.target.matches('input, select') || (event.key === ' ' && event.target.matches('button, a'))) return;
  event.preventDefault();
  act();
}

// Opens a clip; those around it in the same row or grid are its neighbours.
export function open(clip) {
  if (!box) build();
  const around = clip.closest('.query-row, .clip-grid, .pairs') ?? clip.parentElement;
  state.clips = [...around.querySelectorAll('.clip')].filter(c => c.querySelector('[data-src]'));
  state.at = Math.max(0, state.clips.indexOf(clip));
  if (!state.clips.length) return;
  if (!box.open) box.showModal();
  load();
}
