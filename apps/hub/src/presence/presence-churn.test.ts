import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, expect, it } from 'vitest';

import { createFailingLog } from '../durable/failing-log.fixture.ts';
import { closeAll, startTestHub } from '../hub.fixture.ts';
import { look, sees, watch } from './presence.fixture.ts';
import { openSession, type TestSession } from '../sessions/session.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

/** xorshift: the same run for the same seed. */
function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

const ROOMS = ['A', 'B'] as const;

it.each([1, 2, 3])('comes to the same for everybody, whatever came and went while the log failed now and then (%i)', async (seed) => {
  const random = createRandom(seed * 7_919);
  const log = createFailingLog();
  const hub = await startTestHub({ log: true, wrapLog: log.wrap });
  const watcher = await openSession(hub);
  for (const room of ROOMS) await watch(watcher, `w${room}`, room);
  const sessions: { session: TestSession; readonly open: Map<string, { readonly room: string; readonly name: string }> }[] = [];
  for (let n = 0; n < 8; n += 1) sessions.push({ session: await openSession(hub), open: new Map() });
  for (let step = 0; step < 400; step += 1) {
    const at = random(sessions.length);
    const { session, open } = sessions[at] as (typeof sessions)[number];
    const [oldest] = open.keys();
    const dice = random(20);
    if (dice === 0) log.fail('append', random(5), 'LOG_UNAVAILABLE');
    else if (dice === 1) {
      session.socket.terminate();
      sessions[at] = { session: await openSession(hub), open: new Map() };
    } else if (dice < 9 && oldest !== undefined) {
      session.say({ op: 'unsubscribe', request: oldest });
      open.delete(oldest);
    } else if (open.size < 20) {
      const [room, name] = [ROOMS[random(2)] ?? 'A', `n${random(12)}`];
      session.say({ op: 'enter', request: `s${step}`, room, name });
      open.set(`s${step}`, { room, name });
    }
  }
  log.fail('append', 0, 'LOG_UNAVAILABLE');
  for (const room of ROOMS) {
    const names = new Set(sessions.flatMap(({ open }) => [...open.values()].filter((each) => each.room === room).map(({ name }) => name)));
    await sees(watcher, `w${room}`, [...names]);
    expect((await look(hub, room)).members.map(({ name }) => name)).toEqual([...names].sort());
  }
  const members = sessions.reduce((sum, { open }) => sum + open.size, 0);
  await eventually(async () => expect(await hub.metric('carillon_hub_presence_members')).toBe(members));
  expect(sessions.flatMap(({ session }) => session.all('error'))).toEqual([]);
  for (const { session, open } of sessions) for (const request of open.keys()) await session.got('entered', (frame) => frame.request === request);
});
