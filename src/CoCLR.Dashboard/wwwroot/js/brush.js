// Why this exists: a range is drawn along an axis by mouse, pen or finger; only where it begins and ends goes to the server.
export function attach(svg, page) {
  let axis = null, from = 0;
  const percent = event => {
    // The axis within the part that can be touched.
    const box = axis.getBoundingClientRect(), high = box.height * 4 / 190, low = box.height * 186 / 190;
    return Math.min(100, Math.max(0, (low - (event.clientY - box.top)) / (low - high) * 100));
  };
  const mark = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
  mark.setAttribute('class', 'brush');
  const draw = to => {
    const y = v => 216 - v / 100 * 182;
    const place = { x: +axis.getAttribute('x') + 6, width: 12, y: y(Math.max(from, to)), height: Math.abs(y(from) - y(to)) };
    for (const [name, value] of Object.entries(place)) mark.setAttribute(name, value);
  };
  const moves = ['ArrowUp', 'ArrowDown', 'PageUp', 'PageDown'];
  svg.addEventListener('keydown', event => { if (event.target.dataset.axis && moves.includes(event.key)) event.preventDefault(); });
  svg.addEventListener('pointerdown', event => {
    axis = event.target.closest?.('[data-axis]');
    if (!axis) return;
    axis.setPointerCapture(event.pointerId);
    from = percent(event);
    svg.append(mark);
    draw(from);
  });
  svg.addEventListener('pointermove', event => { if (axis) draw(percent(event)); });
  const end = event => {
    if (!axis) return;
    const to = percent(event), number = +axis.dataset.axis;
    axis = null;
    mark.remove();
    // A click chooses nothing, which takes the range away.
    const high = Math.abs(to - from) < 3 ? Math.min(from, to) : Math.max(from, to);
    if (event.type === 'pointerup') page.invokeMethodAsync('Brushed', number, Math.min(from, to), high);
  };
  svg.addEventListener('pointerup', end);
  svg.addEventListener('pointercancel', end);
}
