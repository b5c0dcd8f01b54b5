import { eventually, trackResources } from '@carillon/testing';
import { afterAll, afterEach, describe, expect, it } from 'vitest';

import { closeAll, connectPeer, forget, joinRooms, startTestHub, type TestHub, type TestPeer } from '../hub.fixture.ts';

const noLeaks = trackResources();
afterEach(closeAll);
afterAll(() => noLeaks());

const ROOM = 'ITB-1101';

/** Two of each kind, all in the room. */
async function site(env: Record<string, string> = {}) {
  const hub = await startTestHub({ env });
  const messengers = [await joinRooms(hub, ROOM), await joinRooms(hub, ROOM)] as const;
  const repeaters = [await connectPeer(hub, 'repeater'), await connectPeer(hub, 'repeater')] as const;
  const hubs = [await connectPeer(hub, 'hub'), await connectPeer(hub, 'hub')] as const;
  return { hub, messengers, repeaters, hubs, all: [...messengers, ...repeaters, ...hubs] };
}

/** Proves that nothing more is under way: everybody has got something that was published after. Repeaters take turns. */
async function settled(hub: TestHub, peers: readonly TestPeer[]): Promise<void> {
  const marks = Array.from({ length: peers.filter(({ kind }) => kind === 'repeater').length || 1 }, (_, at) => `${ROOM}\n{"affected-room":{"roomID":"${ROOM}"},"key":"mark ${at}"}`);
  for (let at = 0; at < marks.length; at += 1) await hub.post(ROOM, { key: `mark ${at}` });
  for (const peer of peers) {
    if (peer.kind === 'repeater') await eventually(() => marks.some((mark) => peer.frames.includes(mark)), { intervalMs: 2, what: 'a repeater to get a mark' });
    else for (const mark of marks) await peer.got(mark);
    peer.frames.splice(0, peer.frames.length, ...peer.frames.filter((frame) => !marks.includes(frame)));
  }
}

const heard = (peers: readonly TestPeer[]): string[][] => peers.map(({ frames }) => [...frames]);

describe('an event from a messenger', () => {
  it('goes to the other messengers, every linked hub and exactly one repeater, not back', async () => {
    const { hub, messengers, repeaters, hubs, all } = await site();
    messengers[0].send(`${ROOM}\n{"n":1}`);
    await messengers[1].got(`${ROOM}\n{"n":1}`);
    await settled(hub, all);
    expect(heard(messengers)).toEqual([[], [`${ROOM}\n{"n":1}`]]);
    expect(heard(hubs)).toEqual([[`${ROOM}\n{"n":1}`], [`${ROOM}\n{"n":1}`]]);
    expect(heard(repeaters).flat()).toEqual([`${ROOM}\n{"n":1}`]);
  });

  it('goes to the repeaters in turn', async () => {
    const { hub, messengers, repeaters, all } = await site();
    for (let n = 0; n < 6; n += 1) messengers[0].send(`${ROOM}\n${n}`);
    await messengers[1].got(`${ROOM}\n5`);
    await settled(hub, all);
    const [left = [], right = []] = heard(repeaters);
    expect([left.length, right.length]).toEqual([3, 3]);
    expect([...left, ...right].sort()).toEqual(heard([messengers[1]]).flat());
    await repeaters[0].leave();
    forget(...all);
    for (let n = 6; n < 9; n += 1) messengers[0].send(`${ROOM}\n${n}`);
    await messengers[1].got(`${ROOM}\n8`);
    await settled(hub, all.filter((peer) => peer !== repeaters[0]));
    expect(heard([repeaters[1]])).toEqual([[`${ROOM}\n6`, `${ROOM}\n7`, `${ROOM}\n8`]]);
  });

  it('may come from one that subscribes to nothing', async () => {
    const { hub, messengers } = await site();
    const writer = await connectPeer(hub, 'messenger');
    writer.send(`${ROOM}\n{}`);
    await messengers[0].got(`${ROOM}\n{}`);
    await messengers[1].got(`${ROOM}\n{}`);
    expect(writer.frames).toEqual([]);
  });

  it('over HTTP goes to every messenger, every hub and one repeater', async () => {
    const { hub, messengers, repeaters, hubs, all } = await site();
    await hub.post(ROOM, { key: 'power' });
    const frame = `${ROOM}\n{"affected-room":{"roomID":"${ROOM}"},"key":"power"}`;
    await settled(hub, all);
    expect(heard([...messengers, ...hubs])).toEqual([[frame], [frame], [frame], [frame]]);
    expect(heard(repeaters).flat()).toEqual([frame]);
  });
});

describe('an event from a repeater', () => {
  it('goes to the messengers and every linked hub, never to a repeater', async () => {
    const { hub, messengers, repeaters, hubs, all } = await site();
    repeaters[0].send(`${ROOM}\nup`);
    await messengers[0].got(`${ROOM}\nup`);
    await settled(hub, all);
    expect(heard([...messengers, ...hubs])).toEqual([[`${ROOM}\nup`], [`${ROOM}\nup`], [`${ROOM}\nup`], [`${ROOM}\nup`]]);
    expect(heard(repeaters)).toEqual([[], []]);
  });

  it('goes to no hub when this one stands in a room (ROOM_SYSTEM), while those of messengers do', async () => {
    const { hub, messengers, repeaters, hubs, all } = await site({ ROOM_SYSTEM: 'true' });
    repeaters[0].send(`${ROOM}\nup`);
    await messengers[0].got(`${ROOM}\nup`);
    messengers[0].send(`${ROOM}\nacross`);
    await messengers[1].got(`${ROOM}\nacross`);
    await settled(hub, all);
    expect(heard(hubs)).toEqual([[`${ROOM}\nacross`], [`${ROOM}\nacross`]]);
    expect(heard(messengers)).toEqual([[`${ROOM}\nup`], [`${ROOM}\nup`, `${ROOM}\nacross`]]);
  });
});

describe('an event from a linked hub', () => {
  it('goes to the messengers only', async () => {
    const { hub, messengers, repeaters, hubs, all } = await site();
    hubs[0].send(`${ROOM}\nfar`);
    await messengers[0].got(`${ROOM}\nfar`);
    await settled(hub, all);
    expect(heard(messengers)).toEqual([[`${ROOM}\nfar`], [`${ROOM}\nfar`]]);
    expect(heard([...repeaters, ...hubs])).toEqual([[], [], [], []]);
  });
});

describe('a messenger', () => {
  it('that wants a room by several patterns gets an event once', async () => {
    const hub = await startTestHub();
    const listener = await joinRooms(hub, '*', 'ITB-*', ROOM, '**', 'ITB-**', 'ITB-1101');
    const writer = await connectPeer(hub, 'messenger');
    for (const n of [1, 2, 3]) writer.send(`${ROOM}\n${n}`);
    await listener.got(`${ROOM}\n3`);
    expect(listener.frames).toEqual([`${ROOM}\n1`, `${ROOM}\n2`, `${ROOM}\n3`]);
  });

  it('gets no more of a room that it left, and goes on with what another pattern covers', async () => {
    const hub = await startTestHub();
    const listener = await joinRooms(hub, ROOM, 'ITB-*', 'MARK');
    const writer = await connectPeer(hub, 'messenger');
    await listener.unsubscribe(ROOM, 'NEVER-THERE');
    writer.send(`${ROOM}\n1`);
    await listener.got(`${ROOM}\n1`);
    await listener.unsubscribe('ITB-*');
    writer.send(`${ROOM}\n2`);
    writer.send('MARK\n');
    await listener.got('MARK\n');
    expect(listener.frames).toEqual([`${ROOM}\n1`, 'MARK\n']);
  });

  it('hears rooms by the exact letter: case, white space, accents composed or not', async () => {
    const rooms = ['itb-1101', 'ITB-1101 ', ' ITB-1101', 'ITB-1101-', 'ITB--1101', 'ITB_1101', 'Zoe\u0308', 'Zoë', 'ITB.1101', 'ITB>1101', '%', '\u{1F514}', 'ROOM', 'room'];
    const hub = await startTestHub();
    const listeners = await Promise.all(rooms.map((room) => joinRooms(hub, room, 'MARK')));
    const writer = await connectPeer(hub, 'messenger');
    for (const room of [...rooms, 'MARK']) writer.send(`${room}\n${room}`);
    for (const [at, listener] of listeners.entries()) {
      await listener.got('MARK\nMARK');
      expect(listener.frames).toEqual([`${rooms[at]}\n${rooms[at]}`, 'MARK\nMARK']);
    }
  });

  it('gets a publisher\'s events in the order they were sent, over all its rooms and patterns', async () => {
    const hub = await startTestHub();
    const listeners = [await joinRooms(hub, 'A-1', 'B-1'), await joinRooms(hub, '*'), await joinRooms(hub, 'A-*', 'B-1'), await joinRooms(hub, 'B-*', 'A-1', '**')];
    const writer = await connectPeer(hub, 'messenger');
    const sent = Array.from({ length: 2_000 }, (_, n) => `${n % 3 === 0 ? 'A-1' : 'B-1'}\n${n}`);
    for (const frame of sent) writer.send(frame);
    for (const listener of listeners) {
      await listener.got(sent.at(-1) ?? '');
      expect(listener.frames).toEqual(sent);
    }
  });

  it('that publishes to its own room in the middle of others\' events misses only its own', async () => {
    const hub = await startTestHub();
    const [left, right] = [await joinRooms(hub, ROOM), await joinRooms(hub, ROOM)];
    const own = (name: string) => Array.from({ length: 300 }, (_, n) => `${ROOM}\n${name} ${n}`);
    for (let n = 0; n < 300; n += 1) {
      left.send(own('left')[n] ?? '');
      right.send(own('right')[n] ?? '');
    }
    await Promise.all([left.got(`${ROOM}\nright 299`), right.got(`${ROOM}\nleft 299`)]);
    expect(left.frames).toEqual(own('right'));
    expect(right.frames).toEqual(own('left'));
  });
});

describe('the bytes of an event', () => {
  it.each([
    ['extra blank lines of hops before', '\n\n\n{"a":1}\n'], ['nothing', ''], ['no JSON', 'plain text'], ['carriage returns and zero bytes', '\r\n\0\r{"a":"\0"}'],
    ['tabs, that are v2 fields in a tag line only', '\tid=1\t{}'], ['letters of all kinds', '{"a":"é \u{1F514} \u2028"}'], ['64 KiB and more', 'x'.repeat(70_000)],
  ])('are forwarded as they came (%s)', async (_, body) => {
    const { hub, messengers, repeaters, hubs } = await site();
    const frame = `${ROOM}\n${body}`;
    messengers[0].send(frame);
    await Promise.all([messengers[1].got(frame), hubs[0].got(frame), hubs[1].got(frame), eventually(() => repeaters.some(({ frames }) => frames.includes(frame)))]);
    forget(...messengers);
    hubs[0].send(frame);
    await messengers[0].got(frame);
    forget(...messengers);
    repeaters[0].send(frame);
    await messengers[0].got(frame);
    // Two of the fixture's own: it asks whether a subscription is in force.
    expect(await hub.metric('carillon_hub_refused_total')).toBe(2);
  });

  it('that are no text at all are forwarded as they came', async () => {
    const hub = await startTestHub();
    const listener = await joinRooms(hub, ROOM);
    const got: Buffer[] = [];
    listener.socket.on('message', (data) => got.push(data as Buffer));
    const frame = Buffer.concat([Buffer.from(`${ROOM}\n`), Buffer.from(Uint8Array.from({ length: 256 }, (_, byte) => byte))]);
    (await connectPeer(hub, 'messenger')).send(frame);
    (await connectPeer(hub, 'repeater')).send(frame);
    await expect.poll(() => got.length).toBe(2);
    expect(got).toEqual([frame, frame]);
  });

  it('may be as many as a frame may have, and pass a link as such', async () => {
    const far = await startTestHub();
    const hub = await startTestHub();
    expect((await hub.link(far.host)).status).toBe(200);
    const [writer, listener, farListener] = [await connectPeer(hub, 'messenger'), await joinRooms(hub, ROOM), await joinRooms(far, ROOM)];
    const frame = `${ROOM}\n`.padEnd(1_000_000, 'x');
    writer.send(frame);
    await listener.got(frame);
    await farListener.got(frame);
    (await connectPeer(far, 'messenger')).send(frame.replace('x', 'y'));
    await listener.got(frame.replace('x', 'y'));
    expect(await hub.metric('carillon_hub_links', 'up')).toBe(1);
    expect(await far.metric('carillon_hub_refused_total')).toBe(1);
  });
});
