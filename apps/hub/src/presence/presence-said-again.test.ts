import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { openLmdbLog, type EventLog } from '@carillon/log';
import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, expect, it } from 'vitest';

import { closeAll, onClose } from '../hub.fixture.ts';
import { PageTurns } from '../durable/page-turns.ts';
import { factEvent, readFact } from './presence-facts.ts';
import { Presence } from './presence.ts';
import { PresenceWatcher } from './presence-watcher.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const silent = (): void => undefined;
const logger = { trace: silent, debug: silent, info: silent, warn: silent, error: silent, fatal: silent, level: 'info' as const, child: () => logger };

async function openLog(): Promise<EventLog> {
  const dir = await mkdtemp(join(tmpdir(), 'carillon-presence-'));
  onClose(() => rm(dir, { recursive: true, force: true }));
  const log = await openLmdbLog({ dir, log: logger });
  onClose(() => log.close());
  return log;
}

function open(hubId: string, log: EventLog): Presence {
  let ids = 0;
  const presence = new Presence({ workspaceId: 'w', hubId, log, turns: new PageTurns(), logger, nextId: () => `${hubId}-${(ids += 1)}`, now: Date.now });
  onClose(() => presence.close());
  return presence;
}

const namesIn = async (presence: Presence): Promise<string[]> => (await presence.look('A')).people.map(({ name }) => name).sort();

it('is said again in a log that was made anew: who is here is there, whoever was elsewhere is not known', async () => {
  const logs = [await openLog(), await openLog()] as const;
  let log = logs[0];
  // As a handle whose stream was made anew is: everything goes to the new one.
  const handle = new Proxy(log, {
    get: (_, name) => {
      const member: unknown = Reflect.get(log, name, log);
      return typeof member === 'function' ? (...given: unknown[]): unknown => Reflect.apply(member, log, given) : member;
    },
  });
  const [here, elsewhere] = [open('here', handle), open('elsewhere', logs[0])];
  const told: string[] = [];
  for (const [presence, name] of [[here, 'ann'], [elsewhere, 'bob']] as const) presence.enter({ room: 'A', name, owner: '', data: undefined }, { entered: () => told.push(name), ended: (code) => told.push(code) });
  const frames: string[] = [];
  here.watch(new PresenceWatcher({ request: 'x', room: 'A', send: (frame) => frames.push(JSON.stringify(frame)), whenClear: (listener) => listener() }));
  await eventually(async () => expect(await namesIn(here)).toEqual(['ann', 'bob']));
  log = logs[1];
  here.beginAnew();
  await eventually(async () => expect(await namesIn(here)).toEqual(['ann']));
  expect(told.sort()).toEqual(['ann', 'bob']);
  await eventually(() => expect(frames.at(-1)).toContain('"joined":[{"name":"ann"'));
  expect(frames.filter((frame) => frame.includes('"isAll":true')).length).toBeGreaterThan(1);
});

it('is said again by a hub that was taken for gone, even by one that knew less of it', async () => {
  const log = await openLog();
  const [here, elsewhere] = [open('here', log), open('elsewhere', log)];
  here.enter({ room: 'A', name: 'ann', owner: '', data: undefined }, { entered: () => undefined, ended: () => undefined });
  await eventually(async () => expect(await namesIn(elsewhere)).toEqual(['ann']));
  const entered = async (): Promise<number> => (await log.read({ workspaceId: '_presence', rooms: ['w'], after: 0, maxEvents: 1_000, maxBytes: 1_000_000 })).events.filter(({ body }) => readFact(body)?.type === 'entered').length;
  expect(await entered()).toBe(1);
  // Of a time before it said anything: it means nothing to whoever has read the rest.
  await log.append(factEvent({ type: 'gone', hub: 'here', seq: 0, atMs: 1 }, { workspaceId: 'w', id: 'g1', nowMs: Date.now() }));
  await eventually(async () => expect(await entered()).toBe(2));
  expect(await namesIn(elsewhere)).toEqual(['ann']);
  await log.append(factEvent({ type: 'gone', hub: 'here', seq: 1_000, atMs: 7 }, { workspaceId: 'w', id: 'g2', nowMs: Date.now() }));
  await eventually(async () => expect(await entered()).toBe(3));
  await eventually(async () => expect(await namesIn(elsewhere)).toEqual(['ann']));
});
