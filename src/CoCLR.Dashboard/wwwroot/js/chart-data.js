// Why this exists: what a chart does with numbers before it draws them: attempts to one line, detail into overview, running means, means over runs. Without a page.
const columns = ['steps', 'epochs', 'times', 'values', 'smoothed', 'odd'];

// A curve as the API sends it, with a column for what was not finite.
export function curveOf(sent) {
  return { ...sent, odd: sent.values.map((_, i) => sent.nonFinite?.[i] ?? null), smoothed: sent.smoothed ?? null };
}

// Live points go to the end of a curve; its running mean goes on where the server left it.
export function append(curve, sent, weight) {
  const [sum, mass] = curve.smoothedState ?? [0, 0];
  let state = [sum, mass];
  sent.values.forEach((value, i) => {
    for (const name of ['steps', 'epochs', 'times', 'values']) curve[name].push(sent[name][i]);
    curve.odd.push(sent.nonFinite?.[i] ?? null);
    if (!curve.smoothed) return;
    if (value != null) state = [state[0] * weight + (1 - weight) * value, state[1] * weight + (1 - weight)];
    curve.smoothed.push(value == null || !state[1] ? null : state[0] / state[1]);
  });
  curve.smoothedState = state;
  curve.count += sent.values.length;
}

// What was fetched for a part of the axis takes the place of the thinned points there.
export function splice(curve, detail) {
  if (!detail?.steps.length) return curve;
  const first = detail.steps[0], last = detail.steps[detail.steps.length - 1];
  let a = curve.steps.findIndex(s => s >= first), b = curve.steps.findIndex(s => s > last);
  if (a < 0) a = curve.steps.length;
  if (b < 0) b = curve.steps.length;
  const out = { ...curve };
  for (const name of columns) if (curve[name]) out[name] = [...curve[name].slice(0, a), ...(detail[name] ?? []), ...curve[name].slice(b)];
  return out;
}

// Attempts of one curve become one line: from the step where a later attempt begins, it replaces what an earlier one had there.
export function merge(attempts) {
  const out = { steps: [], epochs: [], times: [], values: [], smoothed: [], odd: [], marks: [] };
  for (const part of [...attempts].sort((a, b) => a.attempt - b.attempt)) {
    if (!part.steps.length) continue;
    let keep = out.steps.length;
    while (keep > 0 && out.steps[keep - 1] >= part.steps[0]) keep--;
    for (const name of columns) { out[name].length = keep; for (const value of part[name] ?? part.values) out[name].push(value); }
    if (part.attempt > 1 && keep > 0) out.marks.push({ step: part.steps[0], epoch: part.epochs[0], time: part.times[0] });
  }
  return out;
}

// One line along an axis: where its points lie, its values, and where something was not a number.
export function line(attempts, x, log) {
  const all = merge(attempts), start = all.times[0] ?? 0;
  const where = p => x === 'epoch' ? p.epoch : x === 'time' ? p.time / 1000 : x === 'relative' ? (p.time - start) / 1000 : p.step;
  let order = all.steps.map((_, i) => i);
  const at = order.map(i => where({ step: all.steps[i], epoch: all.epochs[i], time: all.times[i] }));
  if (x !== 'step') order = order.filter(i => at[i] != null).sort((a, b) => at[a] - at[b] || a - b);
  const shown = v => v == null || (log && v <= 0) ? null : v;
  return {
    x: order.map(i => at[i]),
    steps: order.map(i => all.steps[i]),
    raw: order.map(i => shown(all.values[i])),
    smooth: order.map(i => shown(all.smoothed[i])),
    odd: order.filter(i => all.odd[i]).map(i => ({ x: at[i], step: all.steps[i], kind: all.odd[i] })),
    marks: all.marks.map(where).filter(v => v != null),
  };
}

// The mean of several lines with one standard deviation on either side, wherever at least one of them has a value.
export function mean(lines) {
  const xs = [...new Set(lines.flatMap(l => l.x))].sort((a, b) => a - b);
  const thin = xs.length > 2000 ? xs.filter((_, i) => i % Math.ceil(xs.length / 2000) === 0) : xs;
  const readers = lines.map(l => reader(l.x, l.y));
  const out = { x: thin, mean: [], low: [], high: [], count: lines.length };
  for (const x of thin) {
    const values = readers.map(read => read(x)).filter(v => v != null);
    if (!values.length) { out.mean.push(null); out.low.push(null); out.high.push(null); continue; }
    const m = values.reduce((a, b) => a + b, 0) / values.length;
    const sd = values.length > 1 ? Math.sqrt(values.reduce((a, b) => a + (b - m) ** 2, 0) / (values.length - 1)) : null;
    out.mean.push(m); out.low.push(sd == null ? null : m - sd); out.high.push(sd == null ? null : m + sd);
  }
  return out;
}

// Reads a line at growing places, straight between its points, not before the first nor after the last.
function reader(xs, ys) {
  const points = xs.map((x, i) => [x, ys[i]]).filter(p => p[1] != null);
  let i = 0;
  return x => {
    while (i + 1 < points.length && points[i + 1][0] <= x) i++;
    const a = points[i], b = points[i + 1];
    if (!a || x < a[0]) return null;
    if (x === a[0]) return a[1];
    return b ? a[1] + (b[1] - a[1]) * (x - a[0]) / (b[0] - a[0]) : null;
  };
}

// The part of the values that holds all but the strangest hundredth on either side.
export function calm(values) {
  const known = values.filter(v => v != null).sort((a, b) => a - b);
  if (!known.length) return null;
  return [known[Math.floor((known.length - 1) * .01)], known[Math.ceil((known.length - 1) * .99)]];
}
