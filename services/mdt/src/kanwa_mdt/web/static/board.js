// The board: after each event the columns are read again, and only the cards that differ are replaced, so focus,
// scrolling and screen readers stay where they are.
import { follow, gathered, keepTime } from './live.js';

const GATHER_MS = 120;
const main = document.getElementById('main');
const writeTimes = keepTime();
let etag = null;

const refresh = gathered(async () => {
  const response = await fetch('/board/columns', { headers: etag ? { 'if-none-match': etag } : {}, cache: 'no-store' });
  if (response.status === 401) location.reload();
  if (!response.ok) return; // 304: nothing changed
  etag = response.headers.get('etag');
  const fresh = document.createElement('template');
  fresh.innerHTML = await response.text();
  replaceBoard(fresh.content.querySelector('#board'));
  writeTimes();
}, GATHER_MS);

follow('/events?data=none', Number(main.dataset.position), { onEvent: refresh, onConnect: refresh });

function replaceBoard(fresh) {
  const board = document.getElementById('board');
  const focused = document.activeElement?.closest('[data-case]')?.dataset.case;
  const known = new Map([...board.querySelectorAll('li[data-case]')].map((item) => [item.dataset.case, item]));
  const moved = [];
  for (const column of fresh.querySelectorAll('.column')) {
    const place = board.querySelector(`.column[data-stage="${column.dataset.stage}"]`);
    place.dataset.count = column.dataset.count;
    replaceWhenDifferent(place, column, 'h2');
    replaceWhenDifferent(place, column, '.more');
    moved.push(...replaceCards(place.querySelector('.cards'), column.querySelector('.cards'), known));
  }
  for (const gone of known.values()) gone.remove();
  for (const part of ['.welcome', '.emergencies']) replaceWhenDifferent(board, fresh, part);
  if (focused && document.activeElement === document.body) {
    board.querySelector(`li[data-case="${CSS.escape(focused)}"] a`)?.focus({ preventScroll: true });
  }
  announce(moved);
}

function replaceCards(list, freshList, known) {
  const changed = [];
  let at = list.firstElementChild;
  for (const fresh of [...freshList.children]) {
    const old = known.get(fresh.dataset.case);
    known.delete(fresh.dataset.case);
    const same = old?.dataset.digest === fresh.dataset.digest;
    const item = same ? old : fresh;
    if (!same) {
      item.classList.add('changed');
      changed.push(item);
      if (old && at === old) at = old.nextElementSibling;
      old?.remove();
    }
    if (item === at) at = at.nextElementSibling;
    else list.insertBefore(item, at);
  }
  return changed;
}

function replaceWhenDifferent(place, fresh, selector) {
  const [old, now] = [place.querySelector(selector), fresh.querySelector(selector)];
  if (old && now) { if (old.innerHTML !== now.innerHTML) old.replaceWith(now); }
  else if (old) old.remove();
  else if (now && selector === '.more') place.append(now);
  else if (now) place.prepend(now);
}

function announce(items) {
  const said = items.slice(0, 3).map((item) => {
    const stage = item.closest('.column').querySelector('h2 span').textContent;
    return `${item.querySelector('.name').textContent}: ${stage}`;
  });
  if (items.length > 3) said.push(`and ${items.length - 3} more`);
  if (said.length) document.getElementById('announcer').textContent = said.join(', ');
}

// Arrow keys go from card to card, as on a wall of paper cards; Tab goes through them all as it does everywhere.
main.addEventListener('keydown', (event) => {
  const card = event.target.closest?.('li[data-case]');
  if (!card || event.altKey || event.ctrlKey || event.metaKey) return;
  const goal = { ArrowDown: () => card.nextElementSibling, ArrowUp: () => card.previousElementSibling,
    ArrowRight: () => beside(card, 1), ArrowLeft: () => beside(card, -1) }[event.key];
  if (!goal) return;
  event.preventDefault();
  goal()?.querySelector('a')?.focus();
});

function beside(card, step) {
  const columns = [...document.querySelectorAll('.column')];
  const row = [...card.parentElement.children].indexOf(card);
  for (let n = columns.indexOf(card.closest('.column')) + step; n >= 0 && n < columns.length; n += step) {
    const cards = columns[n].querySelectorAll('li[data-case]');
    if (cards.length) return cards[Math.min(row, cards.length - 1)];
  }
  return null;
}
