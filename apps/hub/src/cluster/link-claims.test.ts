import { describe, expect, it } from 'vitest';

import { LinkClaims, readClaims } from './link-claims.ts';

const URL = 'ws://original:7100/connect/hub';

/** Hubs that hear each other's claims once a tick, as over a bus. */
function cluster(...ids: readonly string[]) {
  const active = new Map<string, boolean>();
  const hubs = new Map(ids.map((id) => [id, new LinkClaims(id)]));
  const join = (id: string): void => {
    active.set(id, false);
    hubs.get(id)?.join({ url: URL, setActive: (now) => active.set(id, now) });
  };
  const tick = (count: number, alive: readonly string[] = ids): void => {
    for (let at = 0; at < count; at += 1) {
      for (const id of alive) hubs.get(id)?.tick();
      for (const from of alive) for (const to of alive) hubs.get(to)?.heard(from, hubs.get(from)?.claims() ?? []);
    }
  };
  const users = (): string[] => [...active].filter(([, now]) => now).map(([id]) => id);
  return { hubs, active, join, tick, users };
}

describe('a link to an original hub that several hubs of a cluster hold', () => {
  it('is used by one of them when all begin at once', () => {
    const { join, tick, users } = cluster('c', 'a', 'b');
    for (const id of ['c', 'a', 'b']) join(id);
    tick(6);
    expect(users()).toEqual(['a']);
  });

  it('stays with the hub that uses it when one with a lower id joins', () => {
    const { join, tick, users } = cluster('a', 'b');
    join('b');
    tick(5);
    join('a');
    tick(10);
    expect(users()).toEqual(['b']);
  });

  it('is never used by two while the bus is up, whoever joins when', () => {
    const { join, tick, users } = cluster('a', 'b', 'c');
    for (const id of ['b', 'c', 'a']) {
      join(id);
      for (let at = 0; at < 8; at += 1) {
        tick(1);
        expect(users().length).toBeLessThanOrEqual(1);
      }
    }
    expect(users()).toEqual(['b']);
  });

  it('passes on when its hub dies, and when its hub loses the link', () => {
    const { hubs, active, join, tick, users } = cluster('a', 'b', 'c');
    for (const id of ['a', 'b', 'c']) join(id);
    tick(6);
    active.delete('a');
    tick(8, ['b', 'c']);
    expect(users()).toEqual(['b']);
    hubs.get('b')?.leave(URL);
    active.delete('b');
    tick(8, ['b', 'c']);
    expect(users()).toEqual(['c']);
  });

  it('goes back to one when a cluster that was cut in two is whole again', () => {
    const { join, tick, users } = cluster('a', 'b');
    join('a');
    join('b');
    tick(10, ['a']);
    tick(10, ['b']);
    expect(users()).toEqual(['a', 'b']);
    tick(2);
    expect(users()).toEqual(['a']);
  });
});

describe('a beacon', () => {
  it('is read as it was written', () => {
    const beacon = { hub: 'a', claims: [{ url: URL, active: true }] };
    expect(readClaims(Buffer.from(JSON.stringify(beacon)))).toEqual(beacon);
  });

  it.each(['', '{', '[]', 'null', '{"hub":1,"claims":[]}', '{"hub":"a","claims":[{"url":1,"active":true}]}', '{"hub":"a","claims":{}}'])('is ignored when it is malformed (%s)', (text) => {
    expect(readClaims(Buffer.from(text))).toBeUndefined();
  });
});
