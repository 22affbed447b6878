// Why this exists: a log of any length: rows in sight are asked for and drawn, the others are only height. Follows the end only while the reader is there.
const views = new Map();
const Margin = 30;      // rows drawn above and below those in sight
const Keep = 4000;      // rows remembered
const Tallest = 3e7;    // pixels; browsers cut taller elements off
const two = n => String(n).padStart(2, '0');

class View {
  constructor(box, reference) {
    Object.assign(this, { box, reference, rows: new Map(), drawn: new Map(), total: 0, key: null, wrap: true, text: '', following: true, mark: -1, seen: 0 });
    this.list = document.createElement('div');
    this.list.className = 'log-rows';
    box.replaceChildren(this.list);
    this.end = box.parentElement.querySelector('.log-end');
    this.end.onclick = () => { this.following = true; this.ask(-1); box.focus(); };
    this.onScroll = () => {
      // Events of our own scrolling may come late, when more lines have come below: they are known by their place.
      if (box.scrollHeight - box.scrollTop - box.clientHeight < this.height) this.following = true;
      else if (box.scrollTop !== this.ours) this.following = false;
      this.later();
    };
    box.addEventListener('scroll', this.onScroll, { passive: true });
    this.measure();
    this.resize = new ResizeObserver(() => { const before = this.columns; this.measure(); if (this.following) this.stick(); if (before !== this.columns) this.again(); else this.later(); });
    this.resize.observe(box);
  }

  // A row that is not shown tells how high one is and how many characters fit.
  measure() {
    const probe = this.element({ head: true, time: 0, stage: 'x', level: 'info', pieces: [['0'.repeat(100), '']] });
    probe.style.visibility = 'hidden';
    this.list.append(probe);
    const cell = probe.lastElementChild, span = cell.firstElementChild;
    this.height = probe.getBoundingClientRect().height || 18;
    const fits = Math.floor(cell.getBoundingClientRect().width / (span.getBoundingClientRect().width / 100 || 8));
    probe.remove();
    if (this.box.clientWidth) this.columns = this.wrap ? Math.max(16, fits) : 0;
  }

  update(key, wrap, text) {
    const anew = key !== this.key || wrap !== this.wrap;
    Object.assign(this, { key, wrap, text });
    if (anew) { this.measure(); this.following = true; this.mark = -1; this.again(); }
    else this.ask(this.following ? -1 : this.first());
  }

  again() { this.rows.clear(); this.clear(); this.ask(this.following ? -1 : this.first()); }
  clear() { this.drawn.forEach(e => e.remove()); this.drawn.clear(); }
  scale() { return Math.min(1, Tallest / Math.max(1, this.total * this.height)); }
  first() { return Math.max(0, Math.floor(this.box.scrollTop / (this.height * this.scale()))); }
  fits() { return Math.ceil(this.box.clientHeight / this.height) + 1; }

  // One question at a time; of those that come meanwhile only the newest is asked.
  async ask(from) {
    if (this.asking) { this.next = from; return; }
    this.asking = true;
    try {
      for (let at = from; at !== null; at = this.next ?? null) {
        this.next = null;
        const start = at < 0 ? -1 : Math.max(0, at - Margin), columns = this.columns ?? 0;
        const answer = await this.reference.invokeMethodAsync('Rows', columns, start, this.fits() + 2 * Margin);
        if (this.gone) return;
        if (columns !== (this.columns ?? 0)) continue;
        this.take(answer);
      }
    } catch { /* the connection is away: what is drawn stays */ } finally { this.asking = false; }
  }

  take(answer) {
    if (answer.total < this.total) { this.rows.clear(); this.clear(); }
    this.total = answer.total;
    if (this.rows.size > Keep) this.rows.clear();
    for (const row of answer.rows) this.rows.set(row.row, row);
    this.list.style.height = Math.min(Tallest, this.total * this.height) + 'px';
    if (this.following) {
      this.seen = this.total;
      this.stick();
    }
    this.draw();
  }

  stick() { this.box.scrollTop = this.box.scrollHeight; this.ours = this.box.scrollTop; }
  later() { if (!this.frame) this.frame = requestAnimationFrame(() => { this.frame = 0; this.draw(); }); }

  draw() {
    const first = this.first(), last = Math.min(this.total, first + this.fits());
    const from = Math.max(0, first - Margin), to = Math.min(this.total, last + Margin);
    for (const [index, element] of this.drawn) if (index < from || index >= to) { element.remove(); this.drawn.delete(index); }
    // Where the list is shrunk, rows keep their distance around the one at the top.
    const origin = this.scale() < 1 ? this.box.scrollTop - (first % 1) * this.height - first * this.height : 0;
    let missing = false;
    for (let i = from; i < to; i++) {
      const row = this.rows.get(i);
      if (!row) { missing ||= i >= first && i < last; continue; }
      let element = this.drawn.get(i);
      if (!element) { element = this.element(row); this.drawn.set(i, element); this.list.append(element); }
      element.classList.toggle('at', i === this.mark);
      element.style.transform = `translateY(${origin + i * this.height}px)`;
    }
    if (missing) this.ask(first);
    if (this.following) this.seen = this.total;
    this.box.dataset.total = this.total;
    this.end.hidden = this.following || !this.total;
    const fresh = this.total - this.seen;
    this.end.textContent = fresh > 0 ? `To the end (${fresh} new)` : 'To the end';
  }

  element(row) {
    const line = document.createElement('div'), time = document.createElement('time'), stage = document.createElement('span'), words = document.createElement('span');
    line.className = 'log-line ' + row.level;
    stage.className = 'stage';
    words.className = 'words';
    if (row.head) {
      const at = new Date(row.time);
      time.dateTime = time.title = at.toISOString();
      time.textContent = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
      stage.textContent = stage.title = row.stage;
    }
    for (const [text, style] of row.pieces) {
      const piece = document.createElement('span');
      if (style) piece.className = style;
      this.highlight(piece, text);
      words.append(piece);
    }
    line.append(time, stage, words);
    return line;
  }

  highlight(into, text) {
    const wanted = this.text.toLowerCase(), low = text.toLowerCase();
    let at = 0;
    for (let hit = wanted ? low.indexOf(wanted) : -1; hit >= 0; hit = low.indexOf(wanted, at)) {
      into.append(text.slice(at, hit));
      const mark = document.createElement('mark');
      mark.textContent = text.slice(hit, hit + wanted.length);
      into.append(mark);
      at = hit + wanted.length;
    }
    into.append(text.slice(at));
  }

  async nextError() {
    const at = await this.reference.invokeMethodAsync('ErrorAfter', this.columns ?? 0, this.mark >= 0 ? this.mark : -1);
    if (at < 0) return false;
    this.mark = at;
    this.following = false;
    this.box.scrollTop = Math.max(0, at - 3) * this.height * this.scale();
    this.draw();
    this.ask(this.first());
    this.box.focus({ preventScroll: true });
    return true;
  }

  dispose() { this.gone = true; this.resize.disconnect(); cancelAnimationFrame(this.frame); this.box.removeEventListener('scroll', this.onScroll); }
}

export function create(id, box, reference) { views.get(id)?.dispose(); if (box) views.set(id, new View(box, reference)); }
export function update(id, key, wrap, text) { views.get(id)?.update(key, wrap, text); }
export function nextError(id) { return views.get(id)?.nextError() ?? false; }
export function dispose(id) { views.get(id)?.dispose(); views.delete(id); }
