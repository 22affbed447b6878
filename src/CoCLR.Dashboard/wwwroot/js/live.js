// Why this exists: one connection to the hub for all charts of a page; a stream continues at its cursor after a gap, so there is neither a hole nor a double point.
let connection = null;
let starting = null;
const runs = new Map();

async function connect() {
  if (!connection) {
    connection = new signalR.HubConnectionBuilder().withUrl(new URL('hubs/runs', document.baseURI).href)
      .withAutomaticReconnect({ nextRetryDelayInMilliseconds: context => Math.min(5000, 200 * 2 ** Math.min(6, context.previousRetryCount)) })
      .configureLogging(signalR.LogLevel.None).build();
    connection.onreconnected(() => runs.forEach(open));
  }
  if (connection.state === 'Disconnected') {
    starting ??= connection.start().finally(() => { starting = null; });
  }
  if (starting) await starting;
}

function open(run) {
  run.stream?.dispose();
  run.stream = connection.stream('WatchRun', run.id, run.cursor, null, true, false).subscribe({
    next: delta => { run.cursor = delta.to; run.listeners.forEach(listen => listen(delta)); },
    complete: () => {},
    error: () => { if (connection.state === 'Connected') setTimeout(() => runs.has(run.id) && open(run), 1000); },
  });
}

// Listens to a run from a cursor on; returns how to stop.
export async function watch(id, cursor, listen) {
  let run = runs.get(id);
  if (!run) {
    run = { id, cursor, listeners: new Set(), stream: null };
    runs.set(id, run);
  }
  run.listeners.add(listen);
  const stop = () => {
    run.listeners.delete(listen);
    if (!run.listeners.size) { run.stream?.dispose(); runs.delete(id); }
  };
  for (let wait = 500; run.listeners.has(listen); wait = Math.min(8000, wait * 2)) {
    try { await connect(); break; } catch { await new Promise(done => setTimeout(done, wait)); }
  }
  if (run.listeners.has(listen) && !run.stream) open(run);
  return stop;
}
