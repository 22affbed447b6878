// Why this exists: a map of up to some ten thousand clips on a canvas, with zoom, pan and a lasso; selection goes back to the page as ids.
const maps = new Map();
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

class Scatter {
  constructor(element, reference, data) {
    Object.assign(this, { element, reference, data, scale: 1, dx: 0, dy: 0, lasso: null, selected: new Set(), fingers: new Map() });
    this.canvas = element.querySelector('canvas');
    this.tip = element.querySelector('.tip');
    this.draw = this.draw.bind(this);
    this.resize = new ResizeObserver(() => this.later());
    this.resize.observe(element);
    this.retheme = () => this.later();
    document.addEventListener('coclr-theme', this.retheme);
    const on = (type, act) => this.canvas.addEventListener(type, act);
    on('pointerdown', e => { if (e.pointerType === 'touch') { this.hover(e); if (this.finger(e)) return; } this.canvas.setPointerCapture(e.pointerId); if (e.shiftKey || e.button === 1) this.pan = [e.offsetX, e.offsetY]; else this.lasso = [[e.offsetX, e.offsetY]]; });
    on('pointermove', e => {
      if (this.fingers.has(e.pointerId) && this.fingers.size > 1) this.pinch(e);
      else if (this.pan) { this.dx += e.offsetX - this.pan[0]; this.dy += e.offsetY - this.pan[1]; this.pan = [e.offsetX, e.offsetY]; this.later(); }
      else if (this.lasso) { this.lasso.push([e.offsetX, e.offsetY]); this.later(); }
      else this.hover(e);
    });
    on('pointerup', e => { if (!this.lift(e)) this.finish(e); });
    on('pointercancel', e => { this.lift(e); this.lasso = this.pan = null; this.later(); });
    on('pointerleave', () => { this.tip.hidden = true; });
    on('wheel', e => {
      e.preventDefault();
      this.zoom(Math.exp(-e.deltaY * .0015), e.offsetX, e.offsetY);
    });
    on('dblclick', () => { this.scale = 1; this.dx = this.dy = 0; this.later(); });
    this.later();
  }

  // What lies at a place stays there.
  zoom(by, x, y) {
    const next = Math.min(60, Math.max(.8, this.scale * by)), f = next / this.scale;
    const [cx, cy] = [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2];
    this.dx = (this.dx - (x - cx)) * f + (x - cx); this.dy = (this.dy - (y - cy)) * f + (y - cy);
    this.scale = next; this.later();
  }

  // One finger draws a lasso; a second one makes it a pinch, which zooms and moves.
  finger(e) {
    this.fingers.set(e.pointerId, [e.offsetX, e.offsetY]);
    if (this.fingers.size > 1) { this.lasso = null; this.later(); }
    return this.fingers.size > 1;
  }

  pinch(e) {
    const before = [...this.fingers.values()].slice(0, 2);
    this.fingers.set(e.pointerId, [e.offsetX, e.offsetY]);
    const after = [...this.fingers.values()].slice(0, 2);
    const middle = ([a, b]) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2], apart = ([a, b]) => Math.hypot(a[0] - b[0], a[1] - b[1]) || 1;
    const [from, to] = [middle(before), middle(after)];
    this.dx += to[0] - from[0]; this.dy += to[1] - from[1];
    this.zoom(apart(after) / apart(before), ...to);
  }

  // Whether a finger went that was part of a pinch: the rest of it draws nothing.
  lift(e) {
    const pinched = this.fingers.size > 1 || (this.fingers.has(e.pointerId) && !this.lasso);
    this.fingers.delete(e.pointerId);
    return pinched;
  }

  set(data) { this.data = data; this.later(); }
  later() { if (!this.frame) this.frame = requestAnimationFrame(() => { this.frame = 0; this.draw(); }); }
  place(i) {
    const w = this.canvas.clientWidth, h = this.canvas.clientHeight, r = Math.min(w, h) / 2 * .92 * this.scale;
    return [w / 2 + this.dx + this.data.x[i] * r * (w > h ? Math.min(1.5, w / h) : 1), h / 2 + this.dy - this.data.y[i] * r];
  }

  draw() {
    const { canvas, data } = this, ratio = devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
    if (!w || !h) return;
    if (canvas.width !== w * ratio || canvas.height !== h * ratio) { canvas.width = w * ratio; canvas.height = h * ratio; }
    const c = canvas.getContext('2d');
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, w, h);
    const colours = Array.from({ length: 10 }, (_, i) => css(`--series-${i + 1}`)), none = css('--muted');
    const size = data.x.length > 3000 ? 2 : data.x.length > 600 ? 3 : 4.5, some = this.selected.size > 0;
    for (const pass of [0, 1]) {
      for (let i = 0; i < data.x.length; i++) {
        const chosen = !some || this.selected.has(i);
        if (chosen !== (pass === 1)) continue;
        const [x, y] = this.place(i);
        if (x < -8 || y < -8 || x > w + 8 || y > h + 8) continue;
        c.globalAlpha = chosen ? .88 : .16;
        const colour = data.group[i] >= 0 ? colours[data.group[i] % 10] : none;
        if (data.ring[i]) { c.strokeStyle = colour; c.lineWidth = 1.5; c.beginPath(); c.arc(x, y, size, 0, 7); c.stroke(); }
        else { c.fillStyle = colour; c.beginPath(); c.arc(x, y, size, 0, 7); c.fill(); }
      }
    }
    c.globalAlpha = 1;
    if (this.lasso?.length > 1) {
      c.strokeStyle = css('--mud-palette-primary'); c.lineWidth = 1.4; c.setLineDash([5, 4]); c.beginPath();
      this.lasso.forEach(([x, y], i) => i ? c.lineTo(x, y) : c.moveTo(x, y)); c.closePath(); c.stroke();
      c.globalAlpha = .08; c.fillStyle = c.strokeStyle; c.fill(); c.globalAlpha = 1; c.setLineDash([]);
    }
    this.element.dataset.drawn = data.x.length;
  }

  near(px, py) {
    let best = -1, least = 144;
    for (let i = 0; i < this.data.x.length; i++) { const [x, y] = this.place(i), d = (x - px) ** 2 + (y - py) ** 2; if (d < least) { least = d; best = i; } }
    return best;
  }

  // Beside the pointer: what lies there, with its still.
  hover(e) {
    const i = this.near(e.offsetX, e.offsetY);
    this.tip.hidden = i < 0;
    if (i < 0) { this.shown = -1; return; }
    if (this.shown !== i) {
      this.shown = i;
      const words = document.createElement('span');
      words.textContent = this.data.label[i];
      this.tip.replaceChildren(words);
      if (this.data.run) {
        const still = new Image();
        still.alt = '';
        still.onload = () => { if (this.shown === i) this.tip.prepend(still); };
        still.src = `api/v1/runs/${encodeURIComponent(this.data.run)}/clips/rgb/poster?id=${encodeURIComponent(this.data.id[i])}`;
      }
    }
    this.tip.style.left = Math.max(0, Math.min(e.offsetX + 12, this.canvas.clientWidth - 190)) + 'px';
    this.tip.style.top = Math.max(0, Math.min(e.offsetY + 12, this.canvas.clientHeight - 150)) + 'px';
  }

  finish(e) {
    if (this.pan) { this.pan = null; return; }
    const path = this.lasso; this.lasso = null;
    if (!path) return;
    this.selected.clear();
    if (path.length < 4) { const i = this.near(e.offsetX, e.offsetY); if (i >= 0) this.selected.add(i); }
    else for (let i = 0; i < this.data.x.length; i++) { const [x, y] = this.place(i); if (inside(path, x, y)) this.selected.add(i); }
    this.later();
    this.reference.invokeMethodAsync('Selected', [...this.selected].slice(0, 400), this.selected.size);
  }

  dispose() { this.resize.disconnect(); document.removeEventListener('coclr-theme', this.retheme); cancelAnimationFrame(this.frame); }
}

function inside(path, x, y) {
  let hit = false;
  for (let i = 0, j = path.length - 1; i < path.length; j = i++) { const [ax, ay] = path[i], [bx, by] = path[j]; if ((ay > y) !== (by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax) hit = !hit; }
  return hit;
}

export function create(element, id, reference, data) { maps.get(id)?.dispose(); maps.set(id, new Scatter(element, reference, data)); }
export function set(id, data) { maps.get(id)?.set(data); }
export function select(id, indexes) { const map = maps.get(id); if (map) { map.selected = new Set(indexes); map.later(); } }
export function dispose(id) { maps.get(id)?.dispose(); maps.delete(id); }
