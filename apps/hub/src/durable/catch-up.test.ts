import type { LogPage, StoredEvent } from '@carillon/log';
import { describe, expect, it } from 'vitest';

import { catchUp, type CatchUpOptions } from './catch-up.ts';
import type { TailListener } from './durable-lane.ts';

const stored = (seq: number): StoredEvent => ({ workspaceId: 'w', room: 'A', id: `e${seq}`, atMs: 1, fields: '', body: Buffer.alloc(0), seq, prevSeq: seq - 1, storedAtMs: 1 });

/** A log whose pages, and a tail whose events, the test says. */
function setUp({ pages, heard = 0, after = 0 }: { readonly pages: readonly (() => { readonly seqs: readonly number[]; readonly head: number })[]; readonly heard?: number; readonly after?: number }) {
  const listeners = new Set<TailListener>();
  const told: (number | string)[] = [];
  const world = { heard };
  let read = 0;
  const tail = (seq: number): void => {
    world.heard = Math.max(world.heard, seq);
    for (const listener of listeners) listener.event(stored(seq));
  };
  const options: CatchUpOptions = {
    log: {
      read: async ({ after: from }) => {
        const { seqs, head } = (pages[Math.min(read, pages.length - 1)] as (typeof pages)[number])();
        read += 1;
        const page: LogPage = { events: seqs.filter((seq) => seq > from).map(stored), gaps: [], next: Math.max(from, head), isLast: true };
        return page;
      },
    },
    workspaceId: 'w', rooms: ['A'], after, wants: () => true, listeners, heardSeq: () => world.heard, signal: new AbortController().signal,
    clear: async () => undefined,
    give: (events) => void told.push(...events.map(({ seq }) => seq)),
    gap: () => undefined,
    live: (seq) => void told.push(`live ${seq}`),
    held: (events) => void told.push(...events.map(({ seq }) => seq)),
  };
  return { options, told, tail, listeners, reads: () => read };
}

describe('catching up', () => {
  it('reads the log, and once more while it holds what comes', async () => {
    const { options, told, tail, listeners } = setUp({
      pages: [() => ({ seqs: [1, 2], head: 2 }), () => {
        tail(3);
        tail(4);
        return { seqs: [1, 2, 3], head: 3 };
      }],
    });
    await catchUp(options);
    expect(told).toEqual([1, 2, 3, 'live 3', 4]);
    expect(listeners.size).toBe(0);
  });

  it('does not believe a log that knows less than its tail has brought', async () => {
    const stale = (): { seqs: number[]; head: number } => ({ seqs: [1], head: 1 });
    const { options, told, reads } = setUp({ heard: 3, pages: [stale, stale, stale, () => ({ seqs: [1, 2, 3], head: 3 })] });
    await catchUp(options);
    expect([told, reads()]).toEqual([[1, 2, 3, 'live 3'], 4]);
  });

  it('reads on when more comes than it may hold', async () => {
    const large = Array.from({ length: 5_000 }, (_, at) => at + 1);
    const { options, told, tail } = setUp({
      pages: [() => ({ seqs: [], head: 0 }), () => {
        for (const seq of large) tail(seq);
        return { seqs: [], head: 0 };
      }, () => ({ seqs: large, head: 5_000 })],
    });
    await catchUp(options);
    expect(told).toEqual([...large, 'live 5000']);
  });

  it('ends with its signal, and holds nothing then', async () => {
    const abort = new AbortController();
    const { options, told, listeners } = setUp({ pages: [() => ({ seqs: [1], head: 1 }), () => {
      abort.abort();
      return { seqs: [1, 2], head: 2 };
    }] });
    await catchUp({ ...options, signal: abort.signal });
    expect([told, listeners.size]).toEqual([[1], 0]);
  });
});
