import { eventually, startNatsServer, stopAll, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { startClusterHub } from '../cluster/cluster-hub.fixture.ts';
import { createFailingLog } from '../durable/failing-log.fixture.ts';
import { closeAll } from '../hub.fixture.ts';
import { enter, look, seenBy, sees, watch } from './presence.fixture.ts';
import { openSession } from '../sessions/session.fixture.ts';

const noLeaks = trackResources();
afterEach(async () => {
  await closeAll();
  await stopAll();
});
afterAll(() => noLeaks());

describe('presence in a cluster', () => {
  it('is the same at every hub, and goes with the hub that stops', async () => {
    const nats = await startNatsServer({ jetstream: true });
    const [a, b] = [await startClusterHub(nats), await startClusterHub(nats)];
    const [ann, bob, mark] = [await openSession(a), await openSession(b), await openSession(b)];
    await watch(bob, 'w', 'A');
    await enter(ann, 'e', 'A', { name: 'ann', data: 'x' });
    await enter(bob, 'e', 'A', { name: 'bob' });
    await enter(mark, 'e', 'A', { name: 'ann', data: 'y' });
    await sees(bob, 'w', ['ann', 'bob']);
    await eventually(() => expect(seenBy(bob, 'w').there.get('ann')?.data).toBe('y'));
    await eventually(async () => expect(await look(a, 'A')).toEqual(await look(b, 'A')));
    await a.stop();
    await sees(bob, 'w', ['ann', 'bob']);
    await mark.leave();
    await sees(bob, 'w', ['bob']);
    // Who comes late is told the same.
    const c = await startClusterHub(nats);
    await eventually(async () => expect(await look(c, 'A')).toEqual(await look(b, 'A')));
    expect((await look(c, 'A')).lastSeen.map(({ name }) => name)).toEqual(['ann']);
  });

  it('ends with the beats of a hub that dies without a word, at the same time for all', async () => {
    const nats = await startNatsServer({ jetstream: true });
    const dying = createFailingLog();
    const [a, b, c] = [await startClusterHub(nats, { wrapLog: dying.wrap }), await startClusterHub(nats), await startClusterHub(nats)];
    await enter(await openSession(a), 'e', 'A', { name: 'ann' });
    const watchers = [await openSession(b), await openSession(c)];
    for (const watcher of watchers) {
      await watch(watcher, 'w', 'A');
      await sees(watcher, 'w', ['ann']);
    }
    dying.fail('append', Infinity, 'LOG_UNAVAILABLE');
    const diedAtMs = Date.now();
    await a.stop();
    for (const watcher of watchers) await sees(watcher, 'w', []);
    const tookMs = Date.now() - diedAtMs;
    const seen = watchers.map((watcher) => seenBy(watcher, 'w').left.get('ann'));
    expect(seen[0]).toBe(seen[1]);
    expect((seen[0] ?? Infinity) <= diedAtMs && tookMs > 4_000).toBe(true);
    expect((await look(b, 'A')).lastSeen).toEqual((await look(c, 'A')).lastSeen);
  });

  it('comes back by itself when others took a hub for dead that was only unheard', async () => {
    const nats = await startNatsServer({ jetstream: true });
    const muted = createFailingLog();
    const [a, b] = [await startClusterHub(nats, { wrapLog: muted.wrap }), await startClusterHub(nats)];
    const [ann, watcher, near] = [await openSession(a), await openSession(b), await openSession(a)];
    await enter(ann, 'e', 'A', { name: 'ann', data: 'x' });
    await watch(near, 'w', 'A');
    const since = (await watch(watcher, 'w', 'A')).there.get('ann')?.at;
    muted.fail('append', Infinity, 'LOG_UNAVAILABLE');
    await sees(watcher, 'w', []);
    await sees(near, 'w', []);
    muted.fail('append', 0, 'LOG_UNAVAILABLE');
    await sees(watcher, 'w', ['ann']);
    await sees(near, 'w', ['ann']);
    expect(seenBy(watcher, 'w').there.get('ann')).toEqual({ at: since, data: 'x' });
    // It was there all the time as far as it knows.
    expect([ann.all('entered').length, ann.all('error').length]).toEqual([1, 0]);
  });

  it('outlives a log that is away for a while: nobody is taken for gone because nobody could be heard', async () => {
    const nats = await startNatsServer({ jetstream: true });
    const [a, b] = [await startClusterHub(nats), await startClusterHub(nats)];
    const [ann, bob] = [await openSession(a), await openSession(b)];
    await enter(ann, 'e', 'A', { name: 'ann' });
    await enter(bob, 'e', 'A', { name: 'bob' });
    await watch(ann, 'w', 'A');
    await watch(bob, 'w', 'A');
    await sees(ann, 'w', ['ann', 'bob']);
    await nats.kill();
    for (const hub of [a, b]) await eventually(async () => expect((await hub.readiness()).status).toBe(503));
    const late = await openSession(a);
    late.say({ op: 'enter', request: 'e', room: 'A', name: 'late' });
    expect(await late.got('error')).toMatchObject({ code: 'LOG_UNAVAILABLE', request: 'e' });
    await nats.restart();
    for (const hub of [a, b]) await eventually(async () => expect((await hub.readiness()).status).toBe(200));
    await enter(late, 'e', 'A', { name: 'late' });
    for (const session of [ann, bob]) await sees(session, 'w', ['ann', 'bob', 'late']);
    expect([ann, bob].flatMap((session) => session.all('presence')).flatMap(({ left = [] }) => left)).toEqual([]);
  });
});
