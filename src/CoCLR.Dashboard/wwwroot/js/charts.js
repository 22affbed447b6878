// Why this exists: draws curves with uPlot: thinned history over the API, new points over the hub, smoothing and axes here, so that no circuit is busy with points.
import uPlot from '../vendor/uplot/uPlot.esm.js';
import { watch } from './live.js';

const charts = new Map();
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const rem = () => parseFloat(getComputedStyle(document.documentElement).fontSize) / 14;
const two = n => String(n).padStart(2, '0');
// 24 hours everywhere; the date where the axis spans days.
function clock(splits) {
  const span = splits[splits.length - 1] - splits[0];
  return splits.map((s, i) => { const d = new Date(s * 1000), day = `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`; return span > 86400 ? day.slice(5) + ' ' + two(d.getHours()) + ':' + two(d.getMinutes()) : two(d.getHours()) + ':' + two(d.getMinutes()) + (span < 600 ? ':' + two(d.getSeconds()) : ''); });
}
function seconds(s) { return s < 120 ? +s.toPrecision(3) + ' s' : s < 7200 ? +(s / 60).toPrecision(3) + ' min' : +(s / 3600).toPrecision(3) + ' h'; }
function bytes(v) { const unit = Math.abs(v) < 2 ** 30 ? [2 ** 20, ' MiB'] : [2 ** 30, ' GiB']; return +(v / unit[0]).toPrecision(3) + unit[1]; }
const format = value => value == null ? '–' : Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3) ? value.toExponential(2) : +value.toPrecision(4) + '';

// Attempts of one curve become one line: from the step where a later attempt begins, it replaces what an earlier one had there.
function merge(attempts) {
  const out = { steps: [], epochs: [], times: [], values: [], marks: [] };
  for (const part of [...attempts.values()].sort((a, b) => a.attempt - b.attempt)) {
    if (!part.steps.length) continue;
    let keep = out.steps.length;
    while (keep > 0 && out.steps[keep - 1] >= part.steps[0]) keep--;
    for (const name of ['steps', 'epochs', 'times', 'values']) { out[name].length = keep; for (const value of part[name]) out[name].push(value); }
    if (part.attempt > 1 && keep > 0) out.marks.push({ step: part.steps[0], epoch: part.epochs[0], time: part.times[0] });
  }
  return out;
}

function smooth(values, weight) {
  if (weight <= 0) return values;
  const out = new Array(values.length);
  let last = 0, debias = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (value == null || !isFinite(value)) { out[i] = null; continue; }
    last = last * weight + (1 - weight) * value;
    debias = debias * weight + (1 - weight);
    out[i] = last / debias;
  }
  return out;
}

class Chart {
  constructor(element, config) {
    this.element = element;
    this.config = config;
    this.curves = new Map();
    this.cursors = new Map();
    this.stops = [];
    this.box = element.querySelector('.plot');
    this.note = element.querySelector('.plot-note');
    this.resize = new ResizeObserver(() => this.size());
    this.resize.observe(this.box);
    this.retheme = () => this.draw(true);
    document.addEventListener('coclr-theme', this.retheme);
    this.load();
  }

  key(run, stage, name) { return `${run}\n${stage}\n${name}`; }

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

  async fetch(run) {
    const wanted = this.config.series.filter(s => s.run === run);
    const names = [...new Set(wanted.map(s => s.name))].join(',');
    const x = this.config.x === 'time' || this.config.x === 'relative' ? 'time' : 'step';
    try {
      const answer = await fetch(`api/v1/runs/${encodeURIComponent(run)}/metrics?points=${this.config.points}&x=${x}&names=${encodeURIComponent(names)}`);
      if (!answer.ok) throw new Error(answer.status);
      const page = await answer.json();
      for (const s of wanted) this.curves.set(this.key(run, s.stage, s.name), new Map());
      for (const curve of page.curves) this.curves.get(this.key(run, curve.stage, curve.name))?.set(curve.attempt, curve);
      this.cursors.set(run, page.cursor);
      this.failed = false;
    } catch { this.failed = true; }
  }

  async take(run, delta) {
    const at = this.cursors.get(run) ?? 0;
    if (delta.to <= at && delta.from <= at) return;
    if (delta.from !== at) { await this.fetch(run); this.later(); return; }
    this.cursors.set(run, delta.to);
    let changed = false;
    for (const curve of delta.curves) {
      const attempts = this.curves.get(this.key(run, curve.stage, curve.name));
      if (!attempts) continue;
      const known = attempts.get(curve.attempt);
      if (!known) attempts.set(curve.attempt, curve);
      else for (const name of ['steps', 'epochs', 'times', 'values']) for (const value of curve[name]) known[name].push(value);
      changed = true;
    }
    if (changed) this.later();
  }

  // Draws at most ten times a second, and not while the page is hidden.
  later() {
    if (this.timer) return;
    this.timer = setTimeout(() => { this.timer = 0; if (!this.gone) this.draw(false); }, document.hidden ? 1000 : 100);
  }

  data() {
    const { x, smoothing } = this.config;
    const tables = [];
    this.marks = [];
    for (const s of this.config.series) {
      const attempts = this.curves.get(this.key(s.run, s.stage, s.name));
      const line = merge(attempts ?? new Map());
      const first = line.times[0] ?? 0;
      const at = x === 'epoch' ? line.epochs : x === 'time' ? line.times.map(t => t / 1000) : x === 'relative' ? line.times.map(t => (t - first) / 1000) : line.steps;
      const values = this.config.log ? line.values.map(v => v > 0 ? v : null) : line.values;
      let xs = at, ys = values;
      if (x !== 'step') {
        const order = xs.map((v, i) => i).filter(i => xs[i] != null).sort((a, b) => xs[a] - xs[b] || a - b);
        xs = order.map(i => at[i]); ys = order.map(i => values[i]);
      }
      for (const mark of line.marks) this.marks.push(x === 'epoch' ? mark.epoch : x === 'time' ? mark.time / 1000 : x === 'relative' ? (mark.time - first) / 1000 : mark.step);
      tables.push(smoothing > 0 ? [xs, ys, smooth(ys, smoothing)] : [xs, ys]);
    }
    if (tables.length === 1) return tables[0];
    if (tables.length && tables.every(t => t[0].length === tables[0][0].length && t[0].every((v, i) => v === tables[0][0][i]))) return [tables[0][0], ...tables.flatMap(t => t.slice(1))];
    return tables.length ? uPlot.join(tables, tables.map(t => t.map(() => 2))) : [[]];
  }

  draw(anew) {
    if (this.gone) return;
    const data = this.data();
    const empty = !data[0]?.length;
    this.note.hidden = !empty;
    if (empty) this.note.textContent = this.failed ? 'The curve cannot be read at the moment.' : this.config.live ? 'No points yet. They appear here as soon as the stage measures something.' : 'No points.';
    this.element.dataset.points = data[0]?.length ?? 0;
    if (!anew && this.plot) {
      const { min, max } = this.plot.scales.x;
      this.plot.setData(data, !this.zoomed);
      if (this.zoomed) this.plot.setScale('x', { min, max });
      return;
    }
    this.plot?.destroy();
    const text = css('--mud-palette-text-secondary'), grid = css('--grid-line'), size = rem(), font = `${11 * size}px Inter, system-ui, sans-serif`;
    const series = [{ label: this.config.x, value: (u, v) => v == null ? '–' : this.config.x === 'time' ? clock([v, v])[0] : this.config.x === 'relative' ? seconds(v) : this.config.x === 'epoch' ? v.toFixed(2) : format(v) }];
    const read = (u, v) => v == null ? '–' : this.config.percent ? (v * 100).toFixed(1) + ' %' : this.config.bytes ? bytes(v) : format(v);
    this.config.series.forEach((s, i) => {
      const colour = css(s.color?.startsWith('var(') ? s.color.slice(4, -1) : `--series-${(i % 10) + 1}`) || s.color;
      const gap = { spanGaps: true, points: { show: (u, si) => u.data[si].filter(v => v != null).length === 1, size: 5 } };
      if (this.config.smoothing > 0) {
        series.push({ label: s.label + ' (raw)', class: 'raw', stroke: colour + '38', width: 1, ...gap, points: { show: false }, value: read });
        series.push({ label: s.label, stroke: colour, width: 1.75, ...gap, value: read });
      } else series.push({ label: s.label, stroke: colour, width: 1.5, dash: s.dash ? [6, 4] : undefined, ...gap, value: read });
    });
    const self = this;
    this.plot = new uPlot({
      width: Math.max(120, this.box.clientWidth), height: this.config.height * size,
      scales: { x: { time: this.config.x === 'time' }, y: { distr: this.config.log ? 3 : 1, ...(this.config.level == null || this.config.log ? {} : { range: (u, min, max) => uPlot.rangeNum(Math.min(min ?? 0, this.config.level), Math.max(max ?? 1, this.config.level), .1, true) }) } },
      cursor: { sync: { key: this.config.sync, scales: ['x', null] }, drag: { x: true, y: false }, points: { size: 6 } },
      legend: { show: true, live: true },
      axes: [
        { stroke: text, font, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1, size: 4 }, size: 30 * size, space: 60 * size, values: this.config.x === 'time' ? (u, splits) => clock(splits) : this.config.x === 'relative' ? (u, splits) => splits.map(seconds) : undefined },
        { stroke: text, font, grid: { stroke: grid, width: 1 }, ticks: { show: false }, size: (u, values) => Math.max(36, 14 + 6.4 * Math.max(0, ...(values ?? []).map(v => v.length))) * size, values: (u, splits) => splits.map(v => v == null ? '' : this.config.percent ? +(v * 100).toPrecision(4) + ' %' : this.config.bytes ? bytes(v) : format(v)) },
      ],
      series,
      hooks: {
        setScale: [(u, scale) => { if (scale === 'x' && u.data[0].length) { const xs = u.data[0]; self.zoomed = u.scales.x.min > xs[0] || u.scales.x.max < xs[xs.length - 1]; } }],
        drawAxes: [u => {
          u.ctx.save(); u.ctx.strokeStyle = text; u.ctx.setLineDash([3, 4]); u.ctx.globalAlpha = .5;
          for (const mark of self.marks) { const at = u.valToPos(mark, 'x', true); if (at > u.bbox.left && at < u.bbox.left + u.bbox.width) { u.ctx.beginPath(); u.ctx.moveTo(at, u.bbox.top); u.ctx.lineTo(at, u.bbox.top + u.bbox.height); u.ctx.stroke(); } }
          if (self.config.level != null) {
            const y = u.valToPos(self.config.level, 'y', true);
            u.ctx.globalAlpha = .75; u.ctx.setLineDash([2, 4]); u.ctx.beginPath(); u.ctx.moveTo(u.bbox.left, y); u.ctx.lineTo(u.bbox.left + u.bbox.width, y); u.ctx.stroke();
            u.ctx.fillStyle = text; u.ctx.font = `${10.5 * size * devicePixelRatio}px Inter, system-ui, sans-serif`; u.ctx.textAlign = 'right'; u.ctx.fillText(self.config.levelName, u.bbox.left + u.bbox.width - 4, y - 4 * devicePixelRatio);
          }
          u.ctx.restore();
        }],
      },
    }, data, this.box);
    this.zoomed = false;
  }

  size() { if (this.plot && Math.abs(this.plot.width - this.box.clientWidth) > 1 && this.box.clientWidth > 60) this.plot.setSize({ width: this.box.clientWidth, height: this.config.height * rem() }); }

  async update(config) {
    const reload = JSON.stringify([config.series, config.points, config.x === 'time' || config.x === 'relative']) !== JSON.stringify([this.config.series, this.config.points, this.config.x === 'time' || this.config.x === 'relative']);
    this.config = config;
    if (reload) {
      this.stop();
      this.curves.clear(); this.cursors.clear();
      await this.load();
    } else this.draw(true);
  }

  stop() { this.stops.forEach(stop => stop()); this.stops = []; }

  dispose() {
    this.gone = true;
    this.stop();
    clearTimeout(this.timer);
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
