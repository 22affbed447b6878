// Why this exists: the video that a person chose is shown at once, from their own disk, while it is still being sent.
export function attach(drop) {
  const input = drop?.querySelector('input[type=file]');
  if (!input) return;
  let shown = null;
  input.addEventListener('change', () => {
    const file = input.files[0];
    if (!file) return;
    if (shown) URL.revokeObjectURL(shown);
    shown = URL.createObjectURL(file);
    const put = tries => {
      const video = drop.parentElement.querySelector('video.search-preview');
      if (video) { video.muted = true; video.src = shown; video.play().catch(() => {}); }
      else if (tries > 0) setTimeout(() => put(tries - 1), 200);
    };
    put(20);
  });
  for (const type of ['dragenter', 'dragover']) drop.addEventListener(type, () => drop.classList.add('over'));
  for (const type of ['dragleave', 'drop']) drop.addEventListener(type, () => drop.classList.remove('over'));
}
