// Why this exists: a chart as a picture for a paper or a message: what is on the screen, with its title and legend.
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const escape = text => String(text).replace(/[&<>"]/g, c => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]);

function save(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export function png(plot, title, legend, name) {
  const from = plot.ctx.canvas, ratio = devicePixelRatio || 1, line = 20 * ratio;
  const canvas = document.createElement('canvas');
  canvas.width = from.width + 2 * line; canvas.height = from.height + line * (2.5 + legend.length);
  const c = canvas.getContext('2d');
  c.fillStyle = css('--mud-palette-surface'); c.fillRect(0, 0, canvas.width, canvas.height);
  c.fillStyle = css('--mud-palette-text-primary'); c.font = `600 ${13 * ratio}px Inter, sans-serif`; c.fillText(title, line, line * 1.2);
  c.drawImage(from, line, line * 1.6);
  c.font = `${11 * ratio}px Inter, sans-serif`;
  legend.forEach((entry, i) => {
    const y = from.height + line * (2.2 + i);
    c.fillStyle = entry.colour; c.fillRect(line, y - 8 * ratio, 9 * ratio, 9 * ratio);
    c.fillStyle = css('--mud-palette-text-primary'); c.fillText(entry.label, line + 15 * ratio, y);
  });
  canvas.toBlob(blob => save(blob, name + '.png'));
}

// Drawn anew as lines and words, so that it stays sharp at every size.
export function svg(plot, title, legend, name) {
  const w = plot.width, h = plot.height, top = 30, ratio = devicePixelRatio || 1;
  const area = { left: plot.bbox.left / ratio, top: plot.bbox.top / ratio + top, width: plot.bbox.width / ratio, height: plot.bbox.height / ratio };
  const ink = css('--mud-palette-text-primary'), grey = css('--mud-palette-text-secondary'), grid = css('--grid-line');
  const parts = [`<rect width="100%" height="100%" fill="${css('--mud-palette-surface')}"/><text x="12" y="20" font-weight="600" font-size="13" fill="${ink}">${escape(title)}</text>`];
  const ticks = (axis, at) => (plot.axes[axis]._splits ?? []).map((v, i) => [at(v), plot.axes[axis]._values?.[i]]).filter(t => t[1] != null && t[1] !== '');
  for (const [x, label] of ticks(0, v => area.left + plot.valToPos(v, 'x'))) parts.push(`<path d="M${x} ${area.top}v${area.height}" stroke="${grid}"/><text x="${x}" y="${area.top + area.height + 16}" text-anchor="middle" font-size="11" fill="${grey}">${escape(label)}</text>`);
  for (const [y, label] of ticks(1, v => area.top + plot.valToPos(v, 'y'))) parts.push(`<path d="M${area.left} ${y}h${area.width}" stroke="${grid}"/><text x="${area.left - 6}" y="${y + 4}" text-anchor="end" font-size="11" fill="${grey}">${escape(label)}</text>`);
  parts.push(`<clipPath id="p"><rect x="${area.left}" y="${area.top}" width="${area.width}" height="${area.height}"/></clipPath><g clip-path="url(#p)" fill="none">`);
  plot.series.forEach((s, i) => {
    if (!i || !s.show || s.hidden) return;
    const stroke = typeof s.stroke === 'function' ? s.stroke(plot, i) : s.stroke;
    let path = '', open = false;
    plot.data[i].forEach((v, k) => {
      if (v === undefined) return;
      if (v === null) { open = false; return; }
      path += `${open ? 'L' : 'M'}${(area.left + plot.valToPos(plot.data[0][k], 'x')).toFixed(1)} ${(area.top + plot.valToPos(v, 'y')).toFixed(1)}`;
      open = true;
    });
    if (path && stroke) parts.push(`<path d="${path}" stroke="${escape(stroke)}" stroke-width="${s.width ?? 1}"/>`);
  });
  parts.push('</g>');
  legend.forEach((entry, i) => parts.push(`<rect x="12" y="${top + h + 4 + i * 18}" width="9" height="9" fill="${escape(entry.colour)}"/><text x="27" y="${top + h + 12 + i * 18}" font-size="11" fill="${ink}">${escape(entry.label)}</text>`));
  const text = `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${top + h + 10 + legend.length * 18}" font-family="Inter, sans-serif">${parts.join('')}</svg>`;
  save(new Blob([text], { type: 'image/svg+xml' }), name + '.svg');
}
