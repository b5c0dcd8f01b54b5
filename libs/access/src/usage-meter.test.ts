import { describe, expect, it } from 'vitest';

import { openPrincipal } from './index.ts';
import { CopyFixture, workspaceEntry } from './records.fixture.ts';

const times = <T>(count: number, run: () => T): T[] => Array.from({ length: count }, run);

describe('the use of a key', () => {
  it('is bounded in connections, and frees what goes', () => {
    const { meter } = new CopyFixture().key({ limits: { connections: 2 } }).principal();
    expect(times(3, () => meter.connect())).toEqual([undefined, undefined, 'CONNECTION_LIMIT_REACHED']);
    meter.disconnect();
    expect(times(2, () => meter.connect())).toEqual([undefined, 'CONNECTION_LIMIT_REACHED']);
    expect(meter.connections).toBe(2);
  });

  it('is bounded in rooms, and frees several at once', () => {
    const { meter } = new CopyFixture().key({ limits: { rooms: 3 } }).principal();
    expect(times(4, () => meter.subscribe())).toEqual([undefined, undefined, undefined, 'ROOM_LIMIT_REACHED']);
    meter.unsubscribe(2);
    expect(times(3, () => meter.subscribe())).toEqual([undefined, undefined, 'ROOM_LIMIT_REACHED']);
    expect(meter.rooms).toBe(3);
  });

  it('never goes below nothing', () => {
    const { meter } = new CopyFixture().key({ limits: { connections: 1, rooms: 1 } }).principal();
    meter.disconnect();
    meter.unsubscribe(5);
    expect([meter.connections, meter.rooms]).toEqual([0, 0]);
    expect([meter.connect(), meter.connect(), meter.subscribe(), meter.subscribe()]).toEqual([undefined, 'CONNECTION_LIMIT_REACHED', undefined, 'ROOM_LIMIT_REACHED']);
  });

  it('is bounded in events a second', () => {
    const fixture = new CopyFixture();
    const { meter } = fixture.key({ limits: { eventsPerSecond: 5 } }).principal();
    expect(times(6, () => meter.send(10))).toEqual([...times(5, () => undefined), 'EVENT_RATE_EXCEEDED']);
    fixture.nowMs += 200;
    expect(times(2, () => meter.send(10))).toEqual([undefined, 'EVENT_RATE_EXCEEDED']);
  });

  it('is bounded in bytes a second, with a burst of one largest frame', () => {
    const fixture = new CopyFixture();
    const { meter } = fixture.key({ limits: { bytesPerSecond: 1_024, eventsPerSecond: 1_000 } }).principal();
    expect([meter.send(1_000_000), meter.send(1)]).toEqual([undefined, 'BYTE_RATE_EXCEEDED']);
    fixture.nowMs += 1_000;
    expect([meter.send(1_024), meter.send(1)]).toEqual([undefined, 'BYTE_RATE_EXCEEDED']);
  });

  it('gives an event back when its bytes are refused', () => {
    const { meter } = new CopyFixture().key({ limits: { bytesPerSecond: 2_000_000, eventsPerSecond: 2 } }).principal();
    expect([meter.send(2_000_000), meter.send(1), meter.send(1), meter.send(0), meter.send(0)]).toEqual([undefined, 'BYTE_RATE_EXCEEDED', 'BYTE_RATE_EXCEEDED', undefined, 'EVENT_RATE_EXCEEDED']);
  });

  it('changes its bounds in place, also to none', () => {
    const fixture = new CopyFixture();
    const { entry, principal } = fixture.key({ limits: { connections: 1, eventsPerSecond: 1 } });
    const { meter } = principal();
    meter.connect();
    meter.send(1);
    expect([meter.connect(), meter.send(1)]).toEqual(['CONNECTION_LIMIT_REACHED', 'EVENT_RATE_EXCEEDED']);
    fixture.put({ ...entry, limits: { connections: null } });
    expect([principal().meter, meter.connect(), meter.send(1), meter.send(1)]).toEqual([meter, undefined, undefined, undefined]);
    fixture.put({ ...entry, limits: { connections: 1, eventsPerSecond: 2 } });
    expect([meter.connect(), ...times(3, () => meter.send(1))]).toEqual(['CONNECTION_LIMIT_REACHED', undefined, undefined, 'EVENT_RATE_EXCEEDED']);
  });
});

describe('the use of a workspace', () => {
  it('is shared by its keys; what it refuses does not count for the key', () => {
    const fixture = new CopyFixture();
    fixture.put(workspaceEntry('w1', { limits: { connections: 2, rooms: 2, eventsPerSecond: 2, bytesPerSecond: 1_024 } }));
    const limits = { connections: 2, rooms: 2, eventsPerSecond: 2 };
    const first = fixture.key({ limits }).principal().meter;
    const second = fixture.key({ limits }).principal().meter;
    expect([first.connect(), second.connect(), second.connect()]).toEqual([undefined, undefined, 'CONNECTION_LIMIT_REACHED']);
    expect([first.subscribe(), second.subscribe(), second.subscribe()]).toEqual([undefined, undefined, 'ROOM_LIMIT_REACHED']);
    expect([first.send(1), first.send(1), second.send(1)]).toEqual([undefined, undefined, 'EVENT_RATE_EXCEEDED']);
    expect([second.connections, second.rooms]).toEqual([1, 1]);
    first.disconnect();
    first.unsubscribe(1);
    expect([second.connect(), second.subscribe()]).toEqual([undefined, undefined]);
    fixture.put(workspaceEntry('w1', { limits: {} }));
    expect([second.send(1), second.send(1), second.send(1)]).toEqual([undefined, undefined, 'EVENT_RATE_EXCEEDED']);
  });

  it('gives the bytes of the key back when the workspace refuses them', () => {
    const fixture = new CopyFixture();
    fixture.put(workspaceEntry('w1', { limits: { bytesPerSecond: 1_024 } }));
    const limits = { bytesPerSecond: 1_000_000 };
    const [first, second] = [fixture.key({ limits }).principal().meter, fixture.key({ limits }).principal().meter];
    expect([first.send(1_000_000), second.send(600_000), second.send(600_000)]).toEqual([undefined, 'BYTE_RATE_EXCEEDED', 'BYTE_RATE_EXCEEDED']);
    fixture.put(workspaceEntry('w1'));
    expect([second.send(1_000_000), second.send(1)]).toEqual([undefined, 'BYTE_RATE_EXCEEDED']);
  });

  it('holds for whoever comes without a key, also when it becomes known later', () => {
    const fixture = new CopyFixture();
    const [open, other] = [openPrincipal('w1', 'messenger', fixture.copy), openPrincipal('w1', 'service', fixture.copy)];
    expect([open.keyId, open.workspaceId, open.kind, open.status, other.kind]).toEqual([undefined, 'w1', 'messenger', 'valid', 'service']);
    expect([open.permissions.decide('send', 'x'), open.permissions.covers('receive', '*'), open.limits]).toEqual(['allow', true, {}]);
    open.meter.connect();
    fixture.put(workspaceEntry('w1', { limits: { connections: 2 } }));
    expect([other.meter.connect(), open.meter.connect()]).toEqual([undefined, 'CONNECTION_LIMIT_REACHED']);
  });

  it('is not forgotten with the workspace while somebody is still there', () => {
    const fixture = new CopyFixture();
    fixture.put(workspaceEntry('w1', { limits: { connections: 1 } }));
    const open = openPrincipal('w1', 'messenger', fixture.copy);
    open.meter.connect();
    fixture.remove(workspaceEntry('w1'));
    fixture.put(workspaceEntry('w1', { limits: { connections: 1 } }));
    expect(fixture.key().principal().meter.connect()).toBe('CONNECTION_LIMIT_REACHED');
    open.meter.disconnect();
    expect(fixture.key().principal().meter.connect()).toBeUndefined();
  });
});
