import { DEFAULT_LIMITS } from '@carillon/wire';
import { describe, expect, it } from 'vitest';
import { openRig, rig, turn } from './fakes.test.fixture.ts';
import { OUTBOUND_MAX_FRAMES, SOCKET_MAX_BYTES } from './outbound.ts';
import { roomEvent, type RoomEvent } from './room-event.ts';

const event = roomEvent({ room: 'ITB-1101', key: 'power', value: 'on', system: 'test' }, new Date(0));

describe('publish', () => {
  it('sends a v2 event to its affected room, or to the room it is told', async () => {
    const { messenger, transport } = openRig();
    await messenger.publish(event);
    await messenger.publish(event, { room: 'ITB-1102' });
    expect(transport.socket.transcript).toEqual([`ITB-1101 ${JSON.stringify(event)}`, `ITB-1102 ${JSON.stringify(event)}`]);
  });

  it('sends bytes and text as they are', async () => {
    const { messenger, transport } = openRig();
    await messenger.send('A', new Uint8Array([0x7b, 0x7d]));
    await messenger.send('A', 'text');
    expect(transport.socket.transcript).toEqual(['A {}', 'A text']);
  });

  it('refuses what no hub would take, each with its code', async () => {
    const { messenger, transport } = openRig();
    const cyclic: RoomEvent = { ...event };
    cyclic.data = cyclic;
    await expect(messenger.publish(cyclic)).rejects.toMatchObject({ code: 'EVENT_INVALID' });
    await expect(messenger.publish({ ...event, 'affected-room': {} })).rejects.toMatchObject({ code: 'ROOM_NAME_INVALID' });
    await expect(messenger.send('A-*', '')).rejects.toMatchObject({ code: 'ROOM_NAME_INVALID' });
    await expect(messenger.send('A\nB', '')).rejects.toMatchObject({ code: 'ROOM_NAME_INVALID' });
    await expect(messenger.send('A', new Uint8Array(DEFAULT_LIMITS.frameMaxBytes - 1))).rejects.toMatchObject({ code: 'FRAME_TOO_LARGE' });
    expect(transport.socket.sent).toEqual([]);
    expect(messenger.state.status).toBe('open');
  });

  it('P2 P5: waits while the hub is away, in order and within its bytes', async () => {
    const { messenger, transport } = rig({ outboundMaxBytes: 8 });
    const waiting = [messenger.send('A', '12'), messenger.send('A', '34')];
    expect(messenger.state.queuedBytes).toBe(8);
    await expect(messenger.send('A', '')).rejects.toMatchObject({ code: 'PUBLISH_QUEUE_FULL' });
    transport.socket.open();
    await Promise.all(waiting);
    expect(transport.socket.transcript).toEqual(['A 12', 'A 34']);
    expect(messenger.state.queuedBytes).toBe(0);
  });

  it('P5: keeps no more small frames than it has memory for', async () => {
    const { messenger } = rig();
    for (let count = 0; count < OUTBOUND_MAX_FRAMES; count += 1) messenger.send('A', '').catch(() => undefined);
    await expect(messenger.send('A', '')).rejects.toMatchObject({ code: 'PUBLISH_QUEUE_FULL' });
    void messenger.close();
  });

  it('waits behind a socket that is behind, and goes on when it has caught up', async () => {
    const { messenger, transport, clock } = openRig();
    transport.socket.bufferedBytes = SOCKET_MAX_BYTES;
    let settled = 0;
    const sent = [messenger.send('A', '1'), messenger.send('A', '2')].map((publish) => publish.then(() => (settled += 1)));
    messenger.subscribe('B');
    await turn();
    clock.advance(1_000);
    expect(transport.socket.sent).toEqual([]);
    expect(settled).toBe(0);
    transport.socket.bufferedBytes = SOCKET_MAX_BYTES - 1;
    clock.advance(10);
    await Promise.all(sent);
    expect(transport.socket.transcript).toEqual(['{"rooms":["B"],"create":true}', 'A 1', 'A 2']);
    clock.advance(20_000);
    expect(messenger.state.status).toBe('open');
  });

  it('keeps what a closing socket would swallow for the next one', async () => {
    const { messenger, transport, clock } = openRig();
    transport.socket.isOpen = false;
    const publish = messenger.send('A', '1');
    transport.socket.gone();
    clock.advance(1_000);
    transport.socket.open();
    await publish;
    expect(transport.sockets.map((socket) => socket.transcript)).toEqual([[], ['A 1']]);
  });

  it('is aborted only while it waits', async () => {
    const { messenger, transport } = rig();
    const abort = new AbortController();
    const first = messenger.send('A', '1', { signal: abort.signal });
    const second = messenger.send('A', '2');
    abort.abort(new Error('changed my mind'));
    abort.abort();
    await expect(first).rejects.toMatchObject({ code: 'ABORTED', cause: expect.objectContaining({ message: 'changed my mind' }) as Error });
    expect(messenger.state.queuedBytes).toBe(3);
    transport.socket.open();
    await second;
    expect(transport.socket.transcript).toEqual(['A 2']);
    await expect(messenger.publish(event, { signal: abort.signal })).rejects.toMatchObject({ code: 'ABORTED' });
    const late = new AbortController();
    await messenger.send('A', '3', { signal: late.signal });
    late.abort();
    expect(transport.socket.transcript).toEqual(['A 2', 'A 3']);
  });

  it('comes after the subscriptions that were made before it', async () => {
    const { messenger, transport } = openRig();
    messenger.subscribe('answers');
    await messenger.send('questions', '?');
    await turn();
    expect(transport.socket.transcript).toEqual(['{"rooms":["answers"],"create":true}', 'questions ?']);
  });
});
