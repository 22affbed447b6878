// Why this exists: draws curves with uPlot: thinned history and the detail of a part over the API, new points over the hub, so that no circuit is busy with points.
import uPlot from '../vendor/uplot/uPlot.esm.js';
import { watch } from './live.js';
import { append, calm, curveOf, line, mean, splice } from './chart-data.js';
import { png, svg } from './chart-export.js';

const charts = new Map();
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const rem = () => parseFloat(getComputedStyle(document.documentElement).fontSize) / 14;
const two = n => String(n).padStart(2, '0');
const Huge = 1e15; // uPlot has no axis for numbers of more digits: larger ones are drawn in a unit of their own

// 24 hours everywhere; the date where the axis spans days.
function clock(splits) {
  const span = splits[splits.length - 1] - splits[0];
  return splits.map(s => { const d = new Date(s * 1000), day = `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`; return span > 86400 ? day.slice(5) + ' ' + two(d.getHours()) + ':' + two(d.getMinutes()) : two(d.getHours()) + ':' + two(d.getMinutes()) + (span < 600 ? ':' + two(d.getSeconds()) : ''); });
}
function seconds(s) { return s < 120 ? +s.toPrecision(3) + ' s' : s < 7200 ? +(s / 60).toPrecision(3) + ' min' : +(s / 3600).toPrecision(3) + ' h'; }
function bytes(v) { const unit = Math.abs(v) < 2 ** 30 ? [2 ** 20, ' MiB'] : [2 ** 30, ' GiB']; return +(v / unit[0]).toPrecision(3) + unit[1]; }
const format = value => value == null ? '–' : Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3) ? value.toExponential(2) : +value.toPrecision(4) + '';

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text != null) element.textContent = text;
  return element;
}

class Chart {
  constructor(element, config) {
    Object.assign(this, { element, config, curves: new Map(), details: new Map(), cursors: new Map(), hidden: new Set(), stops: [], shown: [] });
    this.box = element.querySelector('.plot');
    this.note = element.querySelector('.plot-note');
    this.legend = element.querySelector('.chart-legend');
    this.tip = make('div', 'chart-tip');
    this.tip.hidden = true;
    this.resize = new ResizeObserver(() => this.size());
    this.resize.observe(this.box);
    this.retheme = () => this.draw(true);
    document.addEventListener('coclr-theme', this.retheme);
    element.querySelectorAll('[data-act]').forEach(button => { button.onclick = () => this.act(button.dataset.act); });
    this.box.addEventListener('keydown', event => this.key(event));
    this.box.addEventListener('pointerenter', () => { this.inside = true; });
    this.box.addEventListener('pointerleave', () => { this.inside = false; this.tip.hidden = true; });
    this.box.addEventListener('focusout', () => { this.tip.hidden = true; });
    this.load();
  }

  id(run, stage, name) { return `${run}\n${stage}\n${name}`; }
  get smoothing() { return this.config.smoothing > 0 ? this.config.smoothing : 0; }

  async load() {
    const runs = [...new Set(this.config.series.map(s => s.run))];
    await Promise.all(runs.map(run => this.fetch(run)));
    if (this.gone) return;
    this.draw(true);
    if (this.config.live) {
      for (const run of runs) {
        watch(run, this.cursors.get(run) ?? 0, delta => this.take(run, delta)).then(stop => this.gone ? stop() : this.stops.push(stop));
      }
    }
  }

  // The whole curves of a run, or only some steps of them in more detail.
  async fetch(run, steps) {
    const wanted = this.config.series.filter(s => s.run === run), into = steps ? this.details : this.curves;
    const names = [...new Set(wanted.map(s => s.name))].join(',');
    const x = this.config.x === 'time' || this.config.x === 'relative' ? 'time' : 'step';
    const part = steps ? `&from=${steps[0]}&to=${steps[1]}` : '';
    try {
      const answer = await fetch(`api/v1/runs/${encodeURIComponent(run)}/metrics?points=${this.config.points}&x=${x}&smoothing=${this.smoothing}${part}&names=${encodeURIComponent(names)}`);
      if (!answer.ok) throw new Error(answer.status);
      const page = await answer.json();
      for (const s of wanted) into.set(this.id(run, s.stage, s.name), new Map());
      for (const curve of page.curves) into.get(this.id(run, curve.stage, curve.name))?.set(curve.attempt, curveOf(curve));
      if (!steps) this.cursors.set(run, page.cursor);
      this.failed = false;
    } catch { this.failed = !steps; }
  }

  async take(run, delta) {
    const at = this.cursors.get(run) ?? 0;
    if (delta.to <= at && delta.from <= at) return;
    if (delta.from !== at) { await this.fetch(run); this.later(); return; }
    this.cursors.set(run, delta.to);
    let changed = false;
    for (const sent of delta.curves) {
      const attempts = this.curves.get(this.id(run, sent.stage, sent.name));
      if (!attempts) continue;
      if (!attempts.has(sent.attempt)) attempts.set(sent.attempt, { ...curveOf({ ...sent, count: 0, steps: [], epochs: [], times: [], values: [], nonFinite: null }), smoothed: this.smoothing ? [] : null });
      append(attempts.get(sent.attempt), sent, this.smoothing);
      changed = true;
    }
    if (changed) this.later();
  }

  // Draws at most ten times a second, and not while the page is hidden.
  later() {
    if (this.timer) return;
    this.timer = setTimeout(() => { this.timer = 0; if (!this.gone) this.draw(false); }, document.hidden ? 1000 : 100);
  }

  attempts(s) {
    const whole = this.curves.get(this.id(s.run, s.stage, s.name)) ?? new Map(), detail = this.zoomed ? this.details.get(this.id(s.run, s.stage, s.name)) : null;
    return [...whole.values()].map(c => splice(c, detail?.get(c.attempt)));
  }

  // What is drawn: for each entry of the legend its columns; several runs of one group become their mean.
  data() {
    const { x, log } = this.config;
    this.marks = []; this.odd = [];
    const lines = this.config.series.map((s, i) => {
      const l = line(this.attempts(s), x, log), colour = css(s.color?.startsWith('var(') ? s.color.slice(4, -1) : `--series-${(i % 10) + 1}`) || s.color;
      this.marks.push(...l.marks);
      for (const o of l.odd) this.odd.push({ ...o, colour, label: s.label });
      return { ...l, label: s.label, colour, group: s.group ?? null, dash: s.dash, y: this.smoothing ? l.smooth : l.raw };
    });
    const groups = new Map();
    for (const l of lines) if (l.group != null) groups.set(l.group, [...(groups.get(l.group) ?? []), l]);
    this.entries = [];
    for (const [name, members] of groups) {
      const m = mean(members);
      this.entries.push({ label: members.length > 1 ? `${name} (mean of ${members.length})` : name, colour: members[0].colour, table: [m.x, m.high, m.low, m.mean], main: 3, band: true, steps: members[0].steps });
    }
    for (const l of lines.filter(l => l.group == null)) {
      this.entries.push(this.smoothing
        ? { label: l.label, colour: l.colour, table: [l.x, l.raw, l.smooth], main: 2, steps: l.steps }
        : { label: l.label, colour: l.colour, dash: l.dash, table: [l.x, l.raw], main: 1, steps: l.steps });
    }
    this.lines = lines;
    this.known = this.entries.map(e => e.table[e.main].filter(v => v != null));
    this.quiet = this.config.outliers === 'hide' ? calm(this.known.flat()) : null;
    const tables = this.entries.map(e => this.plotted(e.table));
    if (tables.length === 1) return tables[0];
    if (tables.length && tables.every(t => t[0].length === tables[0][0].length && t[0].every((v, i) => v === tables[0][0][i]))) return [tables[0][0], ...tables.flatMap(t => t.slice(1))];
    // A null stays a gap; where only another curve has a point, the line goes on.
    return tables.length ? uPlot.join(tables, tables.map(t => t.map(() => 1))) : [[]];
  }

  // As uPlot can bear them: large numbers in a unit of their own, and what is left out of the axis not far outside of it.
  plotted(table) {
    let most = 0;
    for (const known of this.quiet ? [this.quiet] : this.entries.map(e => e.table.slice(1).flat())) for (const v of known) if (Math.abs(v) > most) most = Math.abs(v);
    this.unit = most > Huge ? 10 ** Math.floor(Math.log10(most)) : 1;
    if (this.unit === 1 && !this.quiet) return table;
    const room = this.quiet ? 10 * (this.quiet[1] - this.quiet[0]) || 1 : 0;
    const fit = v => v == null ? v : (this.quiet ? Math.min(this.quiet[1] + room, Math.max(this.quiet[0] - room, v)) : v) / this.unit;
    return table.map((column, i) => i ? column.map(fit) : column);
  }

  draw(anew) {
    if (this.gone) return;
    const data = this.data(), empty = !data[0]?.length, strange = !empty && !this.known.some(k => k.length);
    this.note.hidden = !empty && !strange;
    if (empty) this.note.textContent = this.failed ? 'The curve cannot be read at the moment.' : this.config.live ? 'No points yet. They appear here as soon as the stage measures something.' : 'No points.';
    else if (strange) this.note.textContent = this.config.log ? 'No value above zero: a log scale cannot show them.' : 'No finite value yet.';
    this.element.dataset.points = data[0]?.length ?? 0;
    this.element.dataset.odd = this.odd.length;
    if (!anew && this.plot && this.shape === this.entries.map(e => e.label).join()) {
      const { min, max } = this.plot.scales.x;
      this.plot.setData(data, !this.zoomed);
      if (this.zoomed) this.plot.setScale('x', { min, max });
      this.writeLegend();
      return;
    }
    const kept = this.zoomed && this.plot ? { ...this.plot.scales.x } : null;
    this.plot?.destroy();
    this.shape = this.entries.map(e => e.label).join();
    this.plot = new uPlot(this.options(), data, this.box);
    this.plot.over.append(this.tip);
    this.zoomed = false;
    if (kept) this.plot.setScale('x', { min: kept.min, max: kept.max });
    this.writeLegend();
  }

  read(v) { return v == null ? '–' : this.config.percent ? (v * 100).toFixed(1) + ' %' : this.config.bytes ? bytes(v) : format(v); }
  readX(v) { return v == null ? '–' : this.config.x === 'time' ? clock([v, v])[0] : this.config.x === 'relative' ? seconds(v) : this.config.x === 'epoch' ? 'epoch ' + (+v.toFixed(2)) : 'step ' + v; }

  options() {
    const text = css('--mud-palette-text-secondary'), grid = css('--grid-line'), size = rem(), font = `${11 * size}px Inter, system-ui, sans-serif`;
    const series = [{}], bands = [];
    const dots = { show: (u, si) => u.data[si].filter(v => v != null).length === 1, size: 5 };
    for (const e of this.entries) {
      const show = !this.hidden.has(e.label);
      if (e.band) {
        const high = series.length;
        bands.push({ series: [high, high + 1], fill: e.colour + '26' });
        series.push({ show, stroke: e.colour + '55', width: 1, points: { show: false } }, { show, stroke: e.colour + '55', width: 1, points: { show: false } });
      } else if (e.main === 2) series.push({ show, stroke: e.colour + '38', width: 1, points: { show: false } });
      series.push({ show, stroke: e.colour, width: e.main === 1 ? 1.5 : 1.75, dash: e.dash ? [6, 4] : undefined, points: dots });
    }
    return {
      width: Math.max(120, this.box.clientWidth), height: this.height(), bands,
      scales: { x: { time: this.config.x === 'time' }, y: { distr: this.config.log ? 3 : 1, range: (u, min, max) => this.range(min, max) } },
      cursor: { sync: { key: this.config.sync, scales: ['x', null] }, drag: { x: true, y: false }, points: { size: 6 } },
      legend: { show: false },
      axes: [
        { stroke: text, font, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1, size: 4 }, size: 30 * size, space: 60 * size, values: this.config.x === 'time' ? (u, splits) => clock(splits) : this.config.x === 'relative' ? (u, splits) => splits.map(seconds) : undefined },
        { stroke: text, font, grid: { stroke: grid, width: 1 }, ticks: { show: false }, size: (u, values) => Math.max(36, 14 + 6.4 * Math.max(0, ...(values ?? []).map(v => v.length))) * size, values: (u, splits) => splits.map(v => v == null ? '' : this.config.percent ? +(v * 100).toPrecision(4) + ' %' : this.read(v * this.unit)) },
      ],
      series,
      hooks: {
        setScale: [(u, scale) => { if (scale === 'x' && u.data[0].length) this.scaled(u); }],
        setCursor: [u => this.point(u)],
        drawAxes: [u => this.drawMarks(u)],
        draw: [u => this.drawOdd(u)],
      },
    };
  }

  // The vertical axis: as asked, or what is there with some room; without strange values where they are to be left out.
  range(min, max) {
    const { log } = this.config, [yMin, yMax, level] = [this.config.yMin, this.config.yMax, this.config.level].map(v => v == null ? null : v / this.unit);
    if (this.quiet) [min, max] = this.quiet.map(v => v / this.unit);
    if (min == null || max == null) [min, max] = [yMin ?? (log ? .1 : 0), yMax ?? 1];
    if (level != null && !log) { min = Math.min(min, level); max = Math.max(max, level); }
    let [low, high] = log ? uPlot.rangeLog(min, max, 10, false) : uPlot.rangeNum(min, max, .1, true);
    low = yMin ?? low; high = yMax ?? high;
    return high > low ? [low, high] : [low, low + 1];
  }

  drawMarks(u) {
    const text = css('--mud-palette-text-secondary'), ratio = devicePixelRatio;
    u.ctx.save(); u.ctx.strokeStyle = text; u.ctx.setLineDash([3, 4]); u.ctx.globalAlpha = .5;
    for (const mark of this.marks) { const at = u.valToPos(mark, 'x', true); if (at > u.bbox.left && at < u.bbox.left + u.bbox.width) { u.ctx.beginPath(); u.ctx.moveTo(at, u.bbox.top); u.ctx.lineTo(at, u.bbox.top + u.bbox.height); u.ctx.stroke(); } }
    if (this.config.level != null) {
      const y = u.valToPos(this.config.level / this.unit, 'y', true);
      u.ctx.globalAlpha = .75; u.ctx.setLineDash([2, 4]); u.ctx.beginPath(); u.ctx.moveTo(u.bbox.left, y); u.ctx.lineTo(u.bbox.left + u.bbox.width, y); u.ctx.stroke();
      u.ctx.fillStyle = text; u.ctx.font = `${10.5 * rem() * ratio}px Inter, system-ui, sans-serif`; u.ctx.textAlign = 'right'; u.ctx.fillText(this.config.levelName, u.bbox.left + u.bbox.width - 4, y - 4 * ratio);
    }
    u.ctx.restore();
  }

  // What was not a number stands as a cross at the upper edge (-Infinity at the lower), where it happened.
  drawOdd(u) {
    const r = 4 * devicePixelRatio;
    u.ctx.save(); u.ctx.lineWidth = 1.8 * devicePixelRatio;
    for (const o of this.odd) {
      const x = u.valToPos(o.x, 'x', true), y = o.kind === '-Infinity' ? u.bbox.top + u.bbox.height - r - 2 : u.bbox.top + r + 2;
      if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
      u.ctx.strokeStyle = o.colour; u.ctx.beginPath(); u.ctx.moveTo(x - r, y - r); u.ctx.lineTo(x + r, y + r); u.ctx.moveTo(x + r, y - r); u.ctx.lineTo(x - r, y + r); u.ctx.stroke();
    }
    u.ctx.restore();
  }

  // A part of the axis was chosen: its detail is fetched where the overview leaves points out.
  scaled(u) {
    const xs = u.data[0], { min, max } = u.scales.x, was = this.zoomed;
    this.zoomed = min > xs[0] || max < xs[xs.length - 1];
    this.element.dataset.zoomed = this.zoomed;
    clearTimeout(this.looking);
    if (!this.zoomed) { if (was && this.details.size) { this.details.clear(); this.later(); } return; }
    const key = `${min} ${max}`;
    if (this.element.dataset.detailed !== key) delete this.element.dataset.detailed;
    if (this.detailOf !== key) this.looking = setTimeout(() => { this.detailOf = key; this.look(min, max); }, 120);
  }

  async look(min, max) {
    const asked = [];
    for (const run of new Set(this.config.series.map(s => s.run))) {
      let from = Infinity, to = -Infinity, thinned = false;
      this.config.series.forEach((s, i) => {
        if (s.run !== run) return;
        const l = this.lines[i];
        l.x.forEach((x, k) => { if (x >= min && x <= max) { from = Math.min(from, l.steps[Math.max(0, k - 1)]); to = Math.max(to, l.steps[Math.min(l.steps.length - 1, k + 1)]); } });
        thinned ||= [...(this.curves.get(this.id(s.run, s.stage, s.name))?.values() ?? [])].some(c => c.count > c.steps.length);
      });
      if (thinned && from <= to) asked.push(this.fetch(run, [from, to]));
    }
    if (!asked.length) return;
    await Promise.all(asked);
    if (this.gone || !this.zoomed) return;
    this.draw(false);
    if (this.plot.scales.x.min === min && this.plot.scales.x.max === max) this.element.dataset.detailed = `${min} ${max}`;
  }

  point(u) {
    const at = u.cursor.idx, here = this.inside && at != null && u.cursor.left >= 0;
    this.entries.forEach((e, i) => { const cell = this.cells?.[i]; if (cell) cell.textContent = this.read(at == null ? this.last(i) : this.valueAt(e, u.data[0][at])); });
    this.tip.hidden = !here;
    if (!here) return;
    this.at = u.data[0][at];
    const x = this.at, rows = [make('strong', null, this.readX(x))];
    this.entries.forEach(e => {
      if (this.hidden.has(e.label)) return;
      const value = this.valueAt(e, x);
      if (value == null) return;
      const row = make('span', 'tip-row'), dot = make('i');
      dot.style.background = e.colour;
      row.append(dot, make('span', null, e.label), make('b', null, this.read(value)));
      rows.push(row);
    });
    for (const o of this.odd.filter(o => o.x === x)) rows.push(make('span', 'tip-row odd', `${o.label}: ${o.kind} at step ${o.step}`));
    this.tip.replaceChildren(...rows.slice(0, 14));
    const right = u.cursor.left > u.over.clientWidth * .6;
    this.tip.style.left = right ? 'auto' : u.cursor.left + 14 + 'px';
    this.tip.style.right = right ? u.over.clientWidth - u.cursor.left + 14 + 'px' : 'auto';
    this.tip.style.top = Math.min(Math.max(0, u.cursor.top + 8), Math.max(0, u.over.clientHeight - 30)) + 'px';
  }

  // The value at a place; between two points of a curve that of the one before, where another curve has a point.
  valueAt(e, x) {
    const xs = e.table[0];
    if (!xs.length || x < xs[0] || x > xs[xs.length - 1]) return null;
    let low = 0, high = xs.length - 1;
    while (low < high) { const middle = (low + high + 1) >> 1; if (xs[middle] <= x) low = middle; else high = middle - 1; }
    return e.table[e.main][low];
  }

  last(i) { const known = this.known[i]; return known.length ? known[known.length - 1] : null; }

  writeLegend() {
    if (!this.legend) return;
    const rows = this.entries.map((e, i) => {
      const known = this.known[i], button = make('button', 'legend-name'), dot = make('i'), row = make('tr'), name = make('th');
      dot.style.background = e.colour;
      button.type = 'button';
      button.title = 'Show or hide this curve';
      button.setAttribute('aria-pressed', String(!this.hidden.has(e.label)));
      button.append(dot, e.label);
      button.onclick = () => { if (!this.hidden.delete(e.label)) this.hidden.add(e.label); this.draw(true); };
      name.scope = 'row';
      name.append(button);
      let low = Infinity, high = -Infinity;
      for (const v of known) { if (v < low) low = v; if (v > high) high = v; }
      row.append(name, make('td', null, this.read(this.last(i))), make('td', null, known.length ? this.read(low) : '–'), make('td', null, known.length ? this.read(high) : '–'));
      return row;
    });
    const focused = [...this.legend.querySelectorAll('button')].indexOf(document.activeElement);
    this.cells = rows.map(r => r.children[1]);
    const head = make('tr');
    for (const word of ['', 'last', 'min', 'max']) { const th = make('th', null, word); th.scope = 'col'; head.append(th); }
    this.legend.replaceChildren(head, ...rows);
    if (focused >= 0) this.legend.querySelectorAll('button')[focused]?.focus();
  }

  // Arrows move along the curve, plus and minus zoom, 0 shows all.
  key(event) {
    const u = this.plot, xs = u?.data[0];
    if (!xs?.length) return;
    // By its place on the axis: points come in between when the detail arrives.
    const end = xs.length - 1, wanted = this.at ?? xs[end];
    let at = xs.findIndex(x => x >= wanted);
    if (at < 0) at = end;
    const to = { ArrowRight: Math.min(end, at + 1), ArrowLeft: Math.max(0, at - 1), Home: 0, End: end }[event.key];
    const factor = { '+': .5, '-': 2 }[event.key], { min, max } = u.scales.x;
    if (to != null) {
      // What lies outside comes into sight.
      if (xs[to] < min || xs[to] > max) this.window(xs, max - min, xs[to]);
      this.hold(xs[to]);
    } else if (factor) {
      // A few points stay in sight, however deep one looks.
      const least = xs[Math.min(end, at + 3)] - xs[Math.max(0, at - 3)];
      this.window(xs, Math.max(least, (max - min) * factor), xs[at]);
      this.hold(xs[at]);
    } else if (event.key === '0') u.setScale('x', { min: xs[0], max: xs[end] });
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  // Shows a part of the axis around a place; at its ends the part moves instead of shrinking.
  window(xs, width, place) {
    const first = xs[0], last = xs[xs.length - 1], from = Math.max(first, Math.min(last - width, place - width / 2));
    this.plot.setScale('x', { min: from, max: Math.min(last, from + width) });
  }

  // The cursor stands on a point of the curve, also after uPlot has taken over a new part of the axis, which it does a moment later.
  hold(x) {
    this.at = x;
    queueMicrotask(() => {
      if (this.gone) return;
      this.inside = true;
      this.plot.setCursor({ left: this.plot.valToPos(x, 'x'), top: 10 });
    });
  }

  act(what) {
    if (what === 'full') { if (document.fullscreenElement) document.exitFullscreen(); else this.element.requestFullscreen?.(); return; }
    if (!this.plot) return;
    const legend = this.entries.filter(e => !this.hidden.has(e.label)), name = this.config.title.replace(/[^A-Za-z0-9]+/g, '-').toLowerCase();
    (what === 'svg' ? svg : png)(this.plot, this.config.title, legend, name);
  }

  height() { return document.fullscreenElement === this.element ? Math.max(200, this.box.clientHeight) : this.config.height * rem(); }

  size() {
    if (!this.plot || this.box.clientWidth <= 60) return;
    const width = this.box.clientWidth, height = this.height();
    if (Math.abs(this.plot.width - width) > 1 || Math.abs(this.plot.height - height) > 1) this.plot.setSize({ width, height });
  }

  async update(config) {
    const asked = c => JSON.stringify([c.series.map(s => [s.run, s.stage, s.name]), c.points, c.smoothing, c.x === 'time' || c.x === 'relative']);
    const reload = asked(config) !== asked(this.config), moved = config.x !== this.config.x;
    this.config = config;
    if (moved) { this.zoomed = false; this.details.clear(); }
    if (reload) {
      this.stop();
      this.details.clear(); this.detailOf = null;
      this.curves.clear(); this.cursors.clear();
      await this.load();
    } else this.draw(true);
  }

  stop() { this.stops.forEach(stop => stop()); this.stops = []; }

  dispose() {
    this.gone = true;
    this.stop();
    clearTimeout(this.timer); clearTimeout(this.looking);
    this.resize.disconnect();
    document.removeEventListener('coclr-theme', this.retheme);
    this.plot?.destroy();
  }
}

export function create(element, id, config) {
  charts.get(id)?.dispose();
  if (element) charts.set(id, new Chart(element, config));
}

export function update(id, config) { charts.get(id)?.update(config); }

export function dispose(id) { charts.get(id)?.dispose(); charts.delete(id); }
