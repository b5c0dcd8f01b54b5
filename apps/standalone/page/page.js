// The hub's front page: one live tail of every room, /status twice a second at most, POST /event to send.
// Everything that came from outside is shown as text, never as markup.

const EVENTS_SHOWN = 200;
const ROOMS_SHOWN = 200;
const STATUS_EVERY_MS = 1_000;

const element = (id) => document.getElementById(id);
const rooms = new Map();
let filter = '';
let subscribers = {};

function cell(row, text, className = '') {
  const made = row.insertCell();
  made.textContent = text;
  made.className = className;
}

function readFrame(data) {
  const end = data.indexOf('\n');
  const room = end === -1 ? data : data.slice(0, end);
  try {
    return { room, event: JSON.parse(data.slice(end + 1)) };
  } catch {
    return { room, event: { key: '(not JSON)', value: data.slice(end + 1, end + 200) } };
  }
}

function show({ room, event }) {
  rooms.set(room, (rooms.get(room) ?? 0) + 1);
  if (rooms.size > ROOMS_SHOWN) rooms.delete(rooms.keys().next().value);
  element('no-events').hidden = true;
  const row = element('events').insertRow(0);
  row.className = 'new';
  row.dataset.room = room;
  row.hidden = filter !== '' && filter !== room;
  cell(row, new Date().toLocaleTimeString());
  cell(row, room);
  for (const value of [event?.key, event?.value, event?.['target-device']?.deviceID, event?.user]) cell(row, value === undefined ? '' : String(value));
  while (element('events').rows.length > EVENTS_SHOWN) element('events').deleteRow(-1);
}

function choose(room) {
  filter = filter === room ? '' : room;
  element('filter').hidden = filter === '';
  element('filter').textContent = filter === '' ? '' : `of ${filter} (choose the room again for all)`;
  for (const row of element('events').rows) row.hidden = filter !== '' && row.dataset.room !== filter;
}

function drawRooms() {
  const body = element('rooms');
  body.replaceChildren();
  const names = [...new Set([...rooms.keys(), ...Object.keys(subscribers)])].sort();
  element('no-rooms').hidden = names.length > 0;
  for (const name of names.slice(0, ROOMS_SHOWN)) {
    const row = body.insertRow();
    row.tabIndex = 0;
    row.onclick = () => choose(name);
    row.onkeydown = (press) => press.key === 'Enter' && choose(name);
    cell(row, name);
    cell(row, String(rooms.get(name) ?? 0), 'number');
    cell(row, String(subscribers[name]?.length ?? 0), 'number');
  }
}

function drawPeers({ nexus, hub }) {
  const counts = { messengers: nexus.messengers.length, repeaters: nexus.repeaters.length, 'linked hubs': nexus.hubs.length, 'live tails (this page is one)': hub['live-tails'] };
  element('counts').replaceChildren(...Object.entries(counts).flatMap(([name, count]) => {
    const term = document.createElement('dt');
    term.textContent = name;
    const value = document.createElement('dd');
    value.textContent = String(count);
    return [term, value];
  }));
  const lines = [...nexus.repeaters.map(({ id }) => `repeater ${id}`), ...nexus.hubs.map(({ id }) => `hub ${id}`), ...nexus.messengers.map((id) => `messenger ${id}`)];
  element('peers').replaceChildren(...lines.slice(0, 50).map((line) => {
    const item = document.createElement('li');
    item.textContent = line;
    return item;
  }));
}

async function refresh() {
  try {
    const status = await (await fetch('/status')).json();
    element('hub').textContent = `hub ${status.info.hub.name} · version ${status.version} · up ${status.uptime}`;
    subscribers = status.info.nexus['messenger-mapping'];
    drawPeers(status.info);
    drawRooms();
  } catch {
    element('hub').textContent = 'the hub does not answer';
  }
  setTimeout(refresh, STATUS_EVERY_MS);
}

function listen() {
  const tail = new EventSource('/rooms/*/events');
  const state = (name) => {
    element('live').dataset.state = name;
    element('live').textContent = name;
  };
  tail.onopen = () => state('live');
  tail.onerror = () => state('away');
  tail.onmessage = ({ data }) => show(readFrame(data));
}

element('send').onsubmit = async (submission) => {
  submission.preventDefault();
  const fields = Object.fromEntries(new FormData(element('send')));
  const event = {
    'generating-system': 'hub page', timestamp: new Date().toISOString(), 'event-tags': ['user-generated'],
    'affected-room': { roomID: fields.room }, key: fields.key, value: fields.value, user: fields.user,
  };
  const sent = element('sent');
  try {
    const answer = await fetch('/event', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(event) });
    const problem = answer.ok ? undefined : await answer.json();
    sent.dataset.state = answer.ok ? 'sent' : 'refused';
    sent.textContent = answer.ok ? `sent to ${fields.room}` : `${problem.code}: ${problem.detail ?? problem.title}`;
  } catch {
    sent.dataset.state = 'refused';
    sent.textContent = 'the hub does not answer';
  }
};

element('demo').hidden = !(await (await fetch('/page.json')).json()).demo;
listen();
refresh();
