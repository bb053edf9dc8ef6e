// One case: after each event about its patient the page is read again and the parts that differ are replaced.
// The form for the decision is left alone as soon as somebody has begun to fill it in.
import { follow, gathered, keepTime } from './live.js';

const GATHER_MS = 150;
const main = document.getElementById('main');
const writeTimes = keepTime();
const form = () => document.getElementById('decision-form');
let begun = Boolean(document.querySelector('#decision-form .problems'));

main.addEventListener('input', (event) => { if (event.target.closest('#decision-form')) begun = true; });
document.getElementById('problems')?.focus();

const shown = new Map([...main.querySelectorAll('[data-part]')].map((part) => [part.dataset.part, part.innerHTML]));

const refresh = gathered(async () => {
  const response = await fetch(location.pathname, { headers: { accept: 'text/html', 'x-kanwa-fragment': '1' }, cache: 'no-store' });
  if (response.status === 401) location.reload();
  if (!response.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), 'text/html');
  for (const part of fresh.querySelectorAll('[data-part]')) replacePart(part);
  writeTimes();
}, GATHER_MS);

const patient = main.dataset.patient;
const url = `/events?data=none${patient ? `&patient=${encodeURIComponent(patient)}` : ''}`;
follow(url, Number(main.dataset.position), { onEvent: refresh, onConnect: refresh });

function replacePart(fresh) {
  const name = fresh.dataset.part;
  const old = main.querySelector(`[data-part="${name}"]`);
  if (!old || shown.get(name) === fresh.innerHTML) return;
  if (name === 'decision' && begun && form()) { warnWhenStale(fresh); return; }
  shown.set(name, fresh.innerHTML);
  const open = [...old.querySelectorAll('details')].map((details) => details.open);
  const scrolled = old.scrollTop;
  old.replaceWith(fresh);
  fresh.scrollTop = scrolled;
  fresh.querySelectorAll('details').forEach((details, n) => { details.open = open[n] ?? false; });
  if (name === 'head') announce(fresh);
}

function warnWhenStale(fresh) {
  const version = (root) => root.querySelector('input[name="version"]')?.value;
  if (version(fresh) !== version(form())) form().querySelector('.stale').hidden = false;
}

function announce(head) {
  const step = head.querySelector('[aria-current]')?.textContent;
  if (step) document.getElementById('announcer').textContent = `This case: ${step}`;
}
