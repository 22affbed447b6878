// Why this exists: a manifest is talked about by its lines: numbers beside the text, those with a problem marked, and a way to each.
export function attach(frame) {
  const text = frame.querySelector('textarea'), gutter = frame.querySelector('.gutter');
  const numbers = document.createElement('div');
  gutter.replaceChildren(numbers);
  let wrong = new Set(), shown = '';
  const follow = () => { numbers.style.transform = `translateY(${-text.scrollTop}px)`; };
  const draw = () => {
    const count = text.value.split('\n').length, key = `${count} ${[...wrong]}`;
    if (key !== shown) {
      shown = key;
      numbers.replaceChildren(...Array.from({ length: count }, (_, i) => {
        const number = document.createElement('span');
        number.textContent = i + 1;
        if (wrong.has(i + 1)) number.className = 'wrong';
        return number;
      }));
    }
    follow();
  };
  text.addEventListener('input', draw);
  text.addEventListener('scroll', follow);
  frame.coclr = {
    mark(lines) { wrong = new Set(lines); draw(); },
    jump(line) {
      const lines = text.value.split('\n'), start = lines.slice(0, line - 1).reduce((sum, l) => sum + l.length + 1, 0);
      text.focus();
      text.setSelectionRange(start, start + (lines[line - 1]?.length ?? 0));
      text.scrollTop = Math.max(0, (line - 4) * parseFloat(getComputedStyle(text).lineHeight));
    },
  };
}

export function update(frame, lines) { frame?.coclr?.mark(lines); }

export function jump(frame, line) { frame?.coclr?.jump(line); }
