// Follows the board's event stream. fetch instead of EventSource: it says why a connection failed, sees heartbeats
// (comments), and takes events of every name without knowing them beforehand.

const SILENCE_MS = 45_000; // three heartbeats: a connection that says nothing for so long is dead
const FIRST_PAUSE_MS = 300;
const LONGEST_PAUSE_MS = 5_000;

/**
 * Follow `url` from `position` on until the page is left.
 * onEvent(): something changed. onConnect(again): connected, for the second or later time if `again`.
 */
export function follow(url, position, { onEvent, onConnect }) {
  const stream = { position, stopped: false, abort: null };
  addEventListener('pagehide', () => { stream.stopped = true; stream.abort?.abort(); });
  addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); });
  run(url, stream, { onEvent, onConnect });
  return stream;
}

async function run(url, stream, { onEvent, onConnect }) {
  let pause = FIRST_PAUSE_MS;
  let connectedBefore = false;
  while (!stream.stopped) {
    try {
      await connect(url, stream, onEvent, () => {
        showConnection('live');
        onConnect(connectedBefore);
        connectedBefore = true;
        pause = FIRST_PAUSE_MS;
      });
    } catch (error) {
      if (error instanceof SignedOut) { location.reload(); return; }
    }
    if (stream.stopped) return;
    showConnection('reconnecting');
    await new Promise((resolve) => setTimeout(resolve, pause * (0.7 + 0.6 * Math.random())));
    pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
  }
}

class SignedOut extends Error {}

async function connect(url, stream, onEvent, onOpen) {
  stream.abort = new AbortController();
  let watchdog;
  const heard = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => stream.abort.abort(), SILENCE_MS);
  };
  try {
    heard();
    const headers = { accept: 'text/event-stream', 'last-event-id': String(stream.position) };
    const response = await fetch(url, { headers, signal: stream.abort.signal, cache: 'no-store' });
    if (response.status === 401) throw new SignedOut();
    if (response.status === 410) { location.reload(); return; } // away for longer than the log goes back
    if (!response.ok) throw new Error(`${url} answered ${response.status}`);
    onOpen();
    for await (const id of eventIds(response.body, heard)) {
      stream.position = id;
      onEvent(id);
    }
  } finally {
    clearTimeout(watchdog);
  }
}

async function* eventIds(body, heard) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    heard();
    const blocks = (rest + value).split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) {
      const id = /^id: ?(\d+)$/m.exec(block);
      if (id) yield Number(id[1]);
    }
  }
}

let since = null;

/** Say whether what is on the screen is true now, and since when it may not be. */
export function showConnection(state) {
  const place = document.getElementById('connection');
  if (!place || (place.dataset.state === state)) return;
  since = state === 'live' ? null : since ?? new Date();
  place.dataset.state = state;
  place.querySelector('.words').textContent = state === 'live' ? 'Live' : `Reconnecting since ${clock(since)}`;
}

export const clock = (time) => time.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hour12: false });

/** Run `work` soon after the last of many calls, but never twice at the same time. */
export function gathered(work, pauseMs) {
  let timer = null;
  let running = false;
  let again = false;
  const go = async () => {
    timer = null;
    if (running) { again = true; return; }
    running = true;
    try { await work(); } catch { /* the next event or connection tries again */ }
    running = false;
    if (again) { again = false; call(); }
  };
  const call = () => { timer ??= setTimeout(go, pauseMs); };
  return call;
}

/** Write due times as the time that is left, and the clock in the corner; again every 20 seconds. */
export function keepTime() {
  const tick = () => {
    const now = new Date();
    const corner = document.getElementById('clock');
    if (corner) corner.textContent = clock(now);
    for (const place of document.querySelectorAll('time[data-due]')) writeDue(place, now);
  };
  tick();
  setInterval(tick, 20_000);
  return tick;
}

function writeDue(place, now) {
  const minutes = (new Date(place.dateTime) - now) / 60_000;
  const size = Math.abs(minutes);
  const amount = size < 60 ? `${Math.floor(size)} min` : size < 2_880 ? `${Math.floor(size / 60)} h` : `${Math.floor(size / 1_440)} d`;
  place.textContent = minutes < 0 ? `${amount} overdue` : `due in ${amount}`;
  place.classList.toggle('late', minutes < 0);
}
