import { describe, expect, it } from 'vitest';
import { openRig, rig, turn } from './fakes.test.fixture.ts';
import type { ReceivedEvent } from './received-event.ts';

const create = (...rooms: string[]): string => JSON.stringify({ rooms, create: true });
const drop = (...rooms: string[]): string => JSON.stringify({ rooms, create: false });

async function texts(events: AsyncIterable<ReceivedEvent>, count: number): Promise<string[]> {
  const seen: string[] = [];
  if (count > 0) {
    for await (const event of events) {
      seen.push(`${event.room} ${event.text()}`);
      if (seen.length === count) break;
    }
  }
  return seen;
}

describe('subscribe', () => {
  it('tells the hub once for all that was asked in one turn', async () => {
    const { messenger, transport } = openRig();
    const first = messenger.subscribe(['A', 'A', 'B']);
    messenger.subscribe('B');
    expect(transport.socket.sent).toEqual([]);
    await turn();
    expect(transport.socket.transcript).toEqual([create('A', 'B')]);
    expect(messenger.state.rooms).toEqual(['A', 'B']);
    expect(first.rooms).toEqual(['A', 'B']);
    first.close();
    first.close();
    await turn();
    expect(first.closed).toBe(true);
    expect(transport.socket.transcript).toEqual([create('A', 'B'), drop('A')]);
  });

  it('gives each subscription an event once, however its patterns overlap', () => {
    const { messenger, transport } = openRig();
    const seen: string[] = [];
    const hear = (name: string) => (event: ReceivedEvent) => void seen.push(`${name}:${event.room}`);
    messenger.subscribe(['ITB-1101', 'ITB-*', '*'], hear('all'));
    messenger.subscribe(['ITB-*', 'ITB-11*'], hear('building'));
    messenger.subscribe('ITB-1101', hear('room'));
    messenger.subscribe('KMB-1', hear('other'));
    transport.socket.event('ITB-1101');
    expect(seen.sort()).toEqual(['all:ITB-1101', 'building:ITB-1101', 'room:ITB-1101']);
    seen.length = 0;
    transport.socket.event('ITB-9');
    expect(seen.sort()).toEqual(['all:ITB-9', 'building:ITB-9']);
  });

  it('hands over in order, what came before the reader and what comes after', async () => {
    const { messenger, transport } = openRig();
    const events = messenger.subscribe('A');
    transport.socket.event('A', '1');
    transport.socket.event('A', '2');
    const reading = texts(events, 3);
    await turn();
    transport.socket.event('A', '3');
    expect(await reading).toEqual(['A 1', 'A 2', 'A 3']);
    expect(events.closed).toBe(true);
    await turn();
    expect(transport.socket.transcript).toEqual([create('A'), drop('A')]);
  });

  it('keeps thousands of events for a slow reader without mixing them up', async () => {
    const { messenger, transport } = openRig();
    const events = messenger.subscribe('A')[Symbol.asyncIterator]();
    let next = 0;
    for (let round = 0; round < 3; round += 1) {
      for (let index = 0; index < 3_000; index += 1) transport.socket.event('A', String(round * 3_000 + index));
      for (let index = 0; index < 2_500; index += 1) expect(((await events.next()).value as ReceivedEvent).text()).toBe(String(next++));
    }
  });

  it('ends with SUBSCRIPTION_OVERFLOW when it is not read, after what it had kept', async () => {
    const { messenger, transport } = openRig({ subscriptionMaxEvents: 2 });
    const events = messenger.subscribe('A');
    for (const body of ['1', '2', '3', '4']) transport.socket.event('A', body);
    expect(events.closed).toBe(true);
    const reader = events[Symbol.asyncIterator]();
    for (const body of ['1', '2']) expect(((await reader.next()).value as ReceivedEvent).text()).toBe(body);
    await expect(reader.next()).rejects.toMatchObject({ code: 'SUBSCRIPTION_OVERFLOW' });
    expect(await reader.next()).toEqual({ done: true, value: undefined });
    await turn();
    expect(transport.socket.transcript).toEqual([]);
    expect(messenger.state).toMatchObject({ status: 'open', rooms: [] });
  });

  it('is bounded in bytes, too', async () => {
    const { messenger, transport } = openRig();
    const events = messenger.subscribe('A');
    const megabyte = ' '.repeat(1_000_000);
    for (let count = 0; count < 68; count += 1) transport.socket.event('A', megabyte);
    expect(events.closed).toBe(true);
    const reader = events[Symbol.asyncIterator]();
    for (let count = 0; count < 67; count += 1) expect((await reader.next()).done).toBe(false);
    await expect(reader.next()).rejects.toMatchObject({ code: 'SUBSCRIPTION_OVERFLOW' });
  });

  it('reports what a callback throws or rejects with, and goes on', async () => {
    const { messenger, transport } = openRig();
    const reported: string[] = [];
    let heard = 0;
    messenger.on('error', (error) => reported.push(`listener ${error.message}`));
    messenger.subscribe('A', () => {
      throw new Error('one');
    });
    // eslint-disable-next-line @typescript-eslint/no-misused-promises -- what programs do all the same
    messenger.subscribe('A', async () => Promise.reject(new Error('two')), { onError: (error) => reported.push(`own ${error.message}`) });
    messenger.subscribe('A', () => (heard += 1));
    transport.socket.event('A');
    await turn();
    transport.socket.event('A');
    await turn();
    expect(heard).toBe(2);
    expect(reported).toEqual(['listener one', 'own two', 'listener one', 'own two']);
    expect(messenger.state).toMatchObject({ status: 'open', lastError: { code: 'CALLBACK_FAILED', detail: 'a callback threw: one' } });
  });

  it('lets a callback close and subscribe while an event is handed round', () => {
    const { messenger, transport } = openRig();
    const seen: string[] = [];
    const first = messenger.subscribe('A', () => {
      seen.push('first');
      first.close();
      second.close();
      messenger.subscribe('A', () => seen.push('third'));
    });
    const second = messenger.subscribe('A', () => seen.push('second'));
    transport.socket.event('A');
    expect(seen).toEqual(['first']);
    transport.socket.event('A');
    expect(seen).toEqual(['first', 'third']);
  });

  it('has nothing to iterate over with a callback', async () => {
    const { messenger } = openRig();
    expect(await texts(messenger.subscribe('A', () => undefined), 1)).toEqual([]);
  });

  it('ends with ABORTED when its signal does', async () => {
    const { messenger, transport } = openRig();
    const abort = new AbortController();
    const events = messenger.subscribe('A', { signal: abort.signal });
    const waiting = events[Symbol.asyncIterator]().next();
    await turn();
    abort.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'ABORTED' });
    await turn();
    expect(transport.socket.transcript).toEqual([create('A'), drop('A')]);
    expect(() => messenger.subscribe('A', { signal: abort.signal })).toThrow(expect.objectContaining({ code: 'ABORTED' }));
  });

  it.each([[[]], [''], ['A\n'], [['A', 'B-**-C']]])('refuses %j with PATTERN_INVALID', (rooms) => {
    const { messenger } = rig();
    expect(() => messenger.subscribe(rooms)).toThrow(expect.objectContaining({ code: 'PATTERN_INVALID' }));
    expect(messenger.state.rooms).toEqual([]);
  });

  it('refuses more rooms than a hub takes with SUBSCRIPTIONS_EXCEEDED', () => {
    const { messenger } = rig();
    const rooms = Array.from({ length: 10_001 }, (_, index) => `R${index}`);
    expect(() => messenger.subscribe(rooms)).toThrow(expect.objectContaining({ code: 'SUBSCRIPTIONS_EXCEEDED' }));
  });

  it('says nothing at the door of a repeater, which sends what its list says', async () => {
    const { messenger, transport } = openRig({}, 'ws://repeater:7101/connect/ITB-1101/panel');
    const events = messenger.subscribe('ITB-*');
    await turn();
    transport.socket.event('ITB-1101', '1');
    transport.socket.event('KMB-1', '2');
    transport.socket.event('ITB-2', '3');
    expect(await texts(events, 2)).toEqual(['ITB-1101 1', 'ITB-2 3']);
    await messenger.send('ITB-1101', 'up');
    expect(transport.socket.transcript).toEqual(['ITB-1101 up']);
  });
});
