import { parseControl, SUBPROTOCOL_V2 } from '@carillon/wire';

import { DURABLE } from './durable.ts';
import { measureRate } from './rate.ts';
import { PipelinedPublisher } from './pipelined-publisher.ts';
import { RawPeer } from './raw-peer.ts';
import { startHubSubject, type Subject } from './subject.ts';

/** How fast a subscriber that was away gets what it missed, and what many of them at once do to those who are live. */
export interface CatchUpResult {
  readonly events: number;
  readonly eventsPerSecond: number;
  readonly missing: number;
  /** Anonymous memory: the log's own pages are the kernel's. */
  readonly grownBytes: number;
  readonly readers: number;
  readonly eventsEach: number;
  readonly allCaughtUpMs: number;
  readonly liveP99Ms: number;
  readonly liveLost: number;
}

const EVENTS = 100_000;
const READERS = 500;
const EVENTS_EACH = 5_000;
const ROOM = 'BENCH-9';

interface Reader {
  readonly got: number;
  readonly tookMs: number;
}

export async function measureCatchUp({ eventBytes }: { readonly eventBytes: number }): Promise<CatchUpResult> {
  const hub = await startHubSubject(DURABLE);
  try {
    const publisher = await PipelinedPublisher.connect(hub, { room: ROOM, eventBytes, inFlight: 1_000, name: 'filler' });
    await publisher.publish(EVENTS);
    publisher.destroy();
    await read(hub, EVENTS / 10); // warms the code, not the figure
    const bytesBefore = hub.anonymousBytes();
    const one = await read(hub, EVENTS);
    const grownBytes = hub.anonymousBytes() - bytesBefore;

    const live = measureRate(hub, { subscribers: 10, eventsPerSecond: 200, seconds: 15, eventBytes });
    const begun = performance.now();
    const all = await Promise.all(Array.from({ length: READERS }, () => read(hub, EVENTS_EACH)));
    const allCaughtUpMs = Math.round(performance.now() - begun);
    const { p99Ms, lost } = await live;
    return {
      events: EVENTS, eventsPerSecond: Math.round(EVENTS / (one.tookMs / 1_000)), grownBytes,
      missing: EVENTS - one.got + all.reduce((sum, { got }) => sum + (EVENTS_EACH - got), 0),
      readers: READERS, eventsEach: EVENTS_EACH, allCaughtUpMs, liveP99Ms: p99Ms, liveLost: lost,
    };
  } finally {
    await hub.stop();
  }
}

/** Subscribes to the last `count` events and resolves when it is live. */
async function read(hub: Subject, count: number): Promise<Reader> {
  let done: () => void = () => undefined;
  const live = new Promise<void>((resolve) => (done = resolve));
  const peer = await RawPeer.connect({
    port: hub.port, path: hub.path, protocol: SUBPROTOCOL_V2,
    onText: (text) => {
      const control = parseControl(text);
      if (control.ok && control.frame.op === 'live') done();
    },
  });
  peer.say({ op: 'hello' });
  const begun = performance.now();
  peer.say({ op: 'subscribe', request: '1', rooms: [ROOM], since: count === EVENTS ? { seq: 0 } : { last: count } });
  await live;
  const tookMs = performance.now() - begun;
  peer.destroy();
  return { got: peer.frames, tookMs };
}
