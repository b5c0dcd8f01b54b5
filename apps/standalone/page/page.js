// The hub's front page: one live tail of every room, GET /status once a second, POST /event to send.
// Everything that came from outside is shown as text, never as markup, and everything kept here has a bound.

import { asksForKey, headers, onKey, tailPath, tailRefusal } from '/key.js';
import { matchesPattern } from '/pattern.js';

const EVENTS_SHOWN = 200;
const ROOMS_SHOWN = 200;
const PEERS_SHOWN = 50;
/** Longest value written into a cell; an event may have a megabyte. */
const CELL_CHARACTERS = 500;
const STATUS_EVERY_MS = 1_000;
const RATE_SECONDS = 60;
/** A tail that the server refused (it is stopping, or full) is not retried by the browser: we do, after 1 to 3 s. */
const RETRY_MS = 1_000;
const RETRY_SPREAD_MS = 2_000;

const element = (id) => document.getElementById(id);
const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false });

/** Room → events heard, least recently heard first; beyond ROOMS_SHOWN the first is forgotten. */
const rooms = new Map();
const roomRows = new Map();
const rates = new Array(RATE_SECONDS).fill(0);
let subscriptions = [];
let seen = 0;
let awaySince;
/** The tail that the page hears now, and whether there has been one that spoke. */
let tail;
let wasLive = false;
let filter = '';
let paused = false;
/** Rows that wait for the next frame, or for the end of a pause; the newest last, at most EVENTS_SHOWN. */
let waiting = [];
let frameAsked = false;

function make(tag, text, className = '') {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

function textOf(value) {
  const text = value === undefined || value === null ? '' : typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > CELL_CHARACTERS ? `${text.slice(0, CELL_CHARACTERS)}…` : text;
}

function readFrame(data) {
  const end = data.indexOf('\n');
  const room = end === -1 ? data : data.slice(0, end);
  try {
    return { room, event: JSON.parse(data.slice(end + 1)) };
  } catch {
    return { room, event: { key: '(not JSON)', value: data.slice(end + 1) } };
  }
}

function heard({ room, event }) {
  seen += 1;
  rates[RATE_SECONDS - 1] += 1;
  const before = rooms.get(room) ?? 0;
  rooms.delete(room);
  rooms.set(room, before + 1);
  if (rooms.size > ROOMS_SHOWN) rooms.delete(rooms.keys().next().value);
  show({ room, cells: [clock.format(), room, event?.key, event?.value, event?.['target-device']?.deviceID, event?.user] });
}

function show(entry) {
  waiting.push(entry);
  if (waiting.length > EVENTS_SHOWN) waiting.shift();
  drawSoon();
}

function drawSoon() {
  if (frameAsked) return;
  frameAsked = true;
  // A hidden tab has no frames: what waits is drawn when somebody looks.
  requestAnimationFrame(() => {
    frameAsked = false;
    if (!paused) drawEvents();
    drawRooms();
    drawPause();
  });
}

function drawEvents() {
  const body = element('events');
  for (const { room, cells, gap } of waiting) {
    const row = body.insertRow(0);
    row.className = gap === undefined ? 'new' : 'gap';
    if (gap !== undefined) {
      row.append(make('td', gap));
      row.cells[0].colSpan = 6;
      continue;
    }
    row.dataset.room = room;
    row.hidden = filter !== '' && filter !== room;
    row.append(...cells.map((value, at) => make('td', textOf(value), at > 3 ? 'wide-only' : '')));
  }
  waiting = [];
  while (body.rows.length > EVENTS_SHOWN) body.deleteRow(-1);
  element('no-events').hidden = body.rows.length > 0;
}

function drawPause() {
  element('pause').textContent = paused ? `Resume${waiting.length === 0 ? '' : ` (${waiting.length === EVENTS_SHOWN ? 'latest ' : ''}${waiting.length} more)`}` : 'Pause';
  element('pause').setAttribute('aria-pressed', String(paused));
}

function choose(room) {
  filter = filter === room ? '' : room;
  element('filter').hidden = filter === '';
  element('filter').textContent = filter === '' ? '' : `${filter} only ✕`;
  element('filter').setAttribute('aria-label', `Only ${filter} is shown: show all rooms`);
  for (const row of element('events').rows) row.hidden = filter !== '' && row.dataset.room !== undefined && row.dataset.room !== filter;
  drawRooms();
}

/** Rows are kept, not made anew, so that the keyboard's place is kept too. */
function drawRooms() {
  const subscribed = subscriptions.map(([pattern]) => pattern).filter((pattern) => !pattern.includes('*'));
  const names = [...new Set([...rooms.keys(), ...subscribed])].sort().slice(0, ROOMS_SHOWN);
  for (const [name, row] of roomRows) {
    if (names.includes(name)) continue;
    row.remove();
    roomRows.delete(name);
  }
  for (const [at, name] of names.entries()) {
    const row = roomRows.get(name) ?? makeRoomRow(name);
    if (element('rooms').rows[at] !== row) element('rooms').insertBefore(row, element('rooms').rows[at] ?? null);
    row.querySelector('button').setAttribute('aria-pressed', String(filter === name));
    row.cells[1].textContent = String(rooms.get(name) ?? 0);
  }
  element('no-rooms').hidden = names.length > 0;
}

function makeRoomRow(name) {
  const row = document.createElement('tr');
  const button = make('button', name);
  button.type = 'button';
  button.title = 'Show only the events of this room';
  button.onclick = () => choose(name);
  row.append(make('td', ''), make('td', '', 'number'), make('td', '', 'number'));
  row.cells[0].append(button);
  roomRows.set(name, row);
  drawSubscribers(name, row);
  return row;
}

function drawSubscribers(room, row) {
  const ids = new Set();
  for (const [pattern, peers] of subscriptions) if (matchesPattern(pattern, room)) for (const { id } of peers) ids.add(id);
  row.cells[2].textContent = String(ids.size);
}

function drawFigures({ nexus, hub }) {
  const figures = { 'events seen': seen, rooms: rooms.size, messengers: nexus.messengers.length, repeaters: nexus.repeaters.length, 'linked hubs': nexus.hubs.length, 'live tails': hub['live-tails'] };
  element('counts').replaceChildren(...Object.entries(figures).map(([name, count]) => {
    const pair = document.createElement('div');
    pair.append(make('dt', name), make('dd', count.toLocaleString()));
    return pair;
  }));
  const peers = [
    ...nexus.repeaters.map(({ id }) => ['repeater', id]),
    ...nexus.hubs.map(({ id }) => ['hub', id]),
    ...nexus.messengers.map((id) => ['messenger', id]),
  ].slice(0, PEERS_SHOWN);
  element('peers').replaceChildren(...peers.map(([kind, id]) => {
    const item = make('li', '');
    const wants = kind === 'messenger' ? subscriptions.filter(([, subscribers]) => subscribers.some((subscriber) => subscriber.id === id)).map(([pattern]) => pattern) : [];
    item.append(make('span', `${kind} `), id, make('span', wants.length === 0 ? '' : ` hears ${textOf(wants.join(', '))}`));
    return item;
  }));
  element('no-peers').hidden = peers.length > 0;
}

/** Once a second: the second that ended is drawn, a new one begins. */
function drawRate() {
  const top = Math.max(4, ...rates);
  const points = rates.map((rate, at) => `${at},${(19 - (18 * rate) / top).toFixed(1)}`).join(' ');
  const [area, line] = element('spark').children;
  line.setAttribute('points', points);
  area.setAttribute('points', `0,20 ${points} ${RATE_SECONDS - 1},20`);
  element('rate').textContent = rates[RATE_SECONDS - 1].toLocaleString();
  rates.push(0);
  rates.shift();
}

async function refresh() {
  try {
    const answer = await fetch('/status', { headers: headers(), signal: AbortSignal.timeout(5_000) });
    const status = await answer.json();
    if (!answer.ok) throw status;
    const { name, cluster } = status.info.hub;
    element('hub').textContent = `hub ${name} · ${status.version} · up ${status.uptime}${cluster === 'alone' ? '' : ` · cluster ${cluster}`}`;
    subscriptions = Object.entries(status.info.nexus['messenger-mapping']);
    drawFigures(status.info);
    drawRooms();
    for (const [room, row] of roomRows) drawSubscribers(room, row);
  } catch (refusal) {
    element('hub').textContent = asksForKey(refusal) ? 'the hub asks for a key' : 'the hub does not answer';
  }
  setTimeout(refresh, STATUS_EVERY_MS);
}

function enter(state) {
  element('live').dataset.state = state;
  element('live').textContent = state;
}

function listen() {
  tail?.close();
  const current = new EventSource(tailPath());
  tail = current;
  current.onopen = () => {
    enter('live');
    askDemo();
    if (awaySince !== undefined) show({ gap: `The connection was away for ${Math.max(1, Math.round((Date.now() - awaySince) / 1_000))} s; what passed meanwhile is not shown.` });
    awaySince = undefined;
    wasLive = true;
  };
  current.onerror = ({ data }) => {
    if (wasLive) awaySince ??= Date.now();
    enter('away');
    // The hub's last word to a tail that it cuts.
    if (typeof data === 'string') show({ gap: `The hub cut this page off: ${/"code":"(\w+)"/.exec(data)?.[1] ?? data}.` });
    if (current.readyState === EventSource.CLOSED) void comeBack(current);
  };
  current.onmessage = ({ data }) => heard(readFrame(data));
}

/** A tail that was refused: after a pause, or once there is a key that may hear what was asked for. */
async function comeBack(refused) {
  if (asksForKey(await tailRefusal())) return;
  setTimeout(() => {
    if (tail === refused) listen();
  }, RETRY_MS + Math.random() * RETRY_SPREAD_MS);
}

async function askDemo() {
  const answer = await fetch('/page.json').catch(() => undefined);
  if (answer?.ok) element('demo').hidden = !(await answer.json()).demo;
}

async function send(fields) {
  const event = {
    'generating-system': 'hub page', timestamp: new Date().toISOString(), 'event-tags': ['user-generated'],
    'affected-room': { roomID: fields.room }, key: fields.key, value: fields.value, user: fields.user,
  };
  const answer = await fetch('/event', { method: 'POST', headers: { ...headers(), 'content-type': 'application/json' }, body: JSON.stringify(event) }).catch(() => undefined);
  if (answer === undefined) return { state: 'refused', text: 'The hub does not answer.' };
  if (answer.ok) return { state: 'sent', text: `Sent to ${fields.room}.` };
  const problem = await answer.json().catch(() => ({ code: `HTTP ${answer.status}`, title: answer.statusText }));
  return { state: 'refused', text: `${problem.code}: ${problem.title}${problem.detail === undefined ? '' : ` (${problem.detail})`}.` };
}

element('send').onsubmit = async (submission) => {
  submission.preventDefault();
  const { state, text } = await send(Object.fromEntries(new FormData(element('send'))));
  element('sent').dataset.state = state;
  element('sent').textContent = text;
};
element('pause').onclick = () => {
  paused = !paused;
  drawSoon();
};
element('filter').onclick = () => {
  choose(filter);
  element('pause').focus();
};
element('curl').textContent = `curl ${location.origin}/event -H 'content-type: application/json' \\\n  -d '{"affected-room":{"roomID":"ITB-1101"},"key":"power","value":"on"}'`;

onKey(listen);
listen();
refresh();
setInterval(drawRate, 1_000);
