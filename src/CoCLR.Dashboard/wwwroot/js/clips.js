// Why this exists: many small films on one page: they load when they come near, play on hover or all in step, and rest when they are out of sight.
import { open } from './lightbox.js';

let root = null;
let mode = 'hover';
const near = new IntersectionObserver(entries => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) {
      if (!target.src && target.dataset.src) show(target);
      target.dataset.near = '1';
      if (mode === 'all') play(target);
    } else {
      delete target.dataset.near;
      target.pause();
    }
  }
}, { rootMargin: '200px' });

// The poster is asked for first: a film that was never made is told from one that only rests.
function show(video) {
  const poster = new Image();
  poster.onload = () => { video.poster = poster.src; video.src = video.dataset.src; if (mode === 'all' && video.dataset.near) play(video); };
  poster.onerror = () => { video.preload = 'metadata'; video.src = video.dataset.src; };
  poster.src = video.dataset.poster;
}

const still = matchMedia('(prefers-reduced-motion: reduce)');
function play(video) {
  // In step: every film of the page is at the same moment of one clock.
  if (video.duration > 0) { const at = (performance.now() / 1000) % video.duration; if (Math.abs(video.currentTime - at) > .12) video.currentTime = at; }
  video.play().catch(() => {});
}

function enter(event) { const video = event.target.closest?.('.clip')?.querySelector('video'); if (video && mode === 'hover') { video.currentTime = 0; video.play().catch(() => {}); } }
function leave(event) { const clip = event.target.closest?.('.clip'); if (clip && mode === 'hover' && !clip.contains(event.relatedTarget)) clip.querySelector('video')?.pause(); }

// A finger that rests on a clip or begins to scroll plays it, until another is touched; a tap shows it large.
let touched = null;
function touch(event) {
  const video = event.pointerType === 'touch' && mode === 'hover' ? event.target.closest?.('.clip')?.querySelector('video') : null;
  if (!video || video === touched) return;
  touched?.pause();
  touched = video;
  video.play().catch(() => {});
}

// A click or Enter shows a clip large; links inside of it stay links.
function large(event) {
  const clip = event.target.closest?.('.clip');
  if (!clip || event.target.closest('a') || (event.type === 'keydown' && (event.key !== 'Enter' || event.target !== clip))) return;
  event.preventDefault();
  open(clip);
}

// A film that is missing, or whose codec the browser lacks, gives way to its poster, or to words where that is missing too; either way it can be downloaded.
function failed(event) {
  const video = event.target;
  if (video.tagName !== 'VIDEO') return;
  const place = document.createElement('div');
  place.className = 'no-clip';
  const link = document.createElement('a');
  link.textContent = 'no preview';
  link.href = video.dataset.src; link.download = '';
  place.append(link);
  if (video.dataset.poster) {
    const poster = new Image();
    poster.alt = 'Still of the clip: download the film';
    poster.style.cssText = 'width:100%;aspect-ratio:1;object-fit:cover;display:block';
    poster.onload = () => { link.replaceChildren(poster); link.title = 'This browser cannot play the film: download it'; place.replaceWith(link); };
    poster.src = video.dataset.poster;
  }
  video.replaceWith(place);
}

function scan() { root?.querySelectorAll('video[data-src]').forEach(video => { if (!video.dataset.seen) { video.dataset.seen = '1'; near.observe(video); } }); }
const grown = new MutationObserver(scan);
const toggle = () => setMode(mode === 'all' ? 'hover' : 'all');
let listener = null;

export function attach(element, initial, reference) {
  detach();
  // Of the whole page: search results beside a gallery play as it does.
  root = element.closest('main') ?? element;
  listener = reference;
  root.addEventListener('mouseover', enter);
  root.addEventListener('mouseout', leave);
  root.addEventListener('pointerdown', touch);
  root.addEventListener('focusin', enter);
  root.addEventListener('focusout', leave);
  root.addEventListener('error', failed, true);
  root.addEventListener('click', large);
  root.addEventListener('keydown', large);
  document.addEventListener('coclr-play', toggle);
  grown.observe(root, { childList: true, subtree: true, attributes: true, attributeFilter: ['data-src'] });
  setMode(still.matches ? 'hover' : initial, true);
  scan();
}

export function setMode(value, quiet) {
  mode = value;
  root?.querySelectorAll('video').forEach(video => { if (mode === 'all' && video.dataset.near) play(video); else video.pause(); });
  if (!quiet) listener?.invokeMethodAsync('PlayMode', mode).catch(() => {});
}

export function detach() {
  near.disconnect(); grown.disconnect();
  document.removeEventListener('coclr-play', toggle);
  if (root) { root.removeEventListener('mouseover', enter); root.removeEventListener('mouseout', leave); root.removeEventListener('pointerdown', touch); root.removeEventListener('focusin', enter); root.removeEventListener('focusout', leave); root.removeEventListener('error', failed, true); root.removeEventListener('click', large); root.removeEventListener('keydown', large); }
  root = null; listener = null; touched = null;
}
