import { describe, expect, it } from 'vitest';
import { fates } from './deliveries.test.fixture.ts';
import { FakeClock, turn } from './fakes.test.fixture.ts';
import { Outbound, type FrameSink } from './outbound.ts';
import { outgoingEvent } from './outgoing-frame.ts';
import { known, specCells } from './spec.test.fixture.ts';
import type { Welcome } from './welcome.ts';

const WELCOME: Welcome = { op: 'welcome', session: 's', heartbeatMs: 1, limits: { frameMaxBytes: 1_000, roomMaxBytes: 256, patternsMax: 1, publishesMax: 8 } };

/** One publish, moved by hand. */
class Walk {
  readonly #clock = new FakeClock();
  readonly #outbound = new Outbound({ clock: this.#clock, maxBytes: 1_000, backoff: { firstMs: 1_000, capMs: 1_000 }, onReady: () => undefined });
  readonly #abort = new AbortController();
  readonly #sink: FrameSink;
  readonly #fates: ReturnType<typeof fates>;
  #sent = 0;

  constructor(welcome: Welcome | undefined) {
    this.#sink = { isOpen: true, bufferedBytes: 0, welcome, send: () => (this.#sent += 1) };
    this.#fates = fates([this.#outbound.publish(outgoingEvent('A', '1', { id: 'one' }), undefined, { signal: this.#abort.signal })]);
  }

  readonly #events: Readonly<Record<string, () => unknown>> = {
    sent: () => this.#outbound.flush(this.#sink),
    published: () => this.#outbound.published({ op: 'published', class: 'stored', events: [['one', 1]] }),
    refused: () => this.#outbound.refused('one', 'SEND_DENIED'),
    'refused for now': () => this.#outbound.refused('one', 'LOG_UNAVAILABLE'),
    'connection lost': () => this.#outbound.lost(),
    'given up': () => this.#abort.abort(),
  };

  take(event: string): void {
    known(this.#events, event)();
  }

  /** Where it is: by what becomes of its promise, and by when it goes. */
  async state(): Promise<string> {
    await turn();
    const [fate] = this.#fates;
    const isGivenUp = typeof fate === 'object' && fate.code === 'ABORTED';
    if (this.#outbound.isEmpty) return isGivenUp ? 'gone' : `settled${fate === 'waits' ? ', and nobody was told' : ''}`;
    if (this.#goes()) return 'waiting';
    this.#clock.advance(1_000);
    if (this.#goes()) return 'refused';
    return isGivenUp ? 'in flight, nobody waits' : 'in flight';
  }

  /** Whether a connection takes it now. */
  #goes(): boolean {
    const before = this.#sent;
    this.#outbound.flush(this.#sink);
    return this.#sent > before;
  }
}

const PATHS: Readonly<Record<string, readonly string[]>> = {
  waiting: [],
  'in flight': ['sent'],
  'in flight, nobody waits': ['sent', 'given up'],
  refused: ['sent', 'refused for now'],
};

/** A cell that says something else of the first protocol is two. */
const cells = specCells('A publish').flatMap(({ cell, ...where }) => {
  const [, next = cell, first] = /^(.*) \(first protocol: (.*)\)$/.exec(cell) ?? [];
  return [{ ...where, next, protocol: 2 }, ...(first === undefined ? [] : [{ ...where, next: first, protocol: 1 }])];
});

describe('the table of a publish', () => {
  it.each(cells)('$row on $event is $next (protocol $protocol)', async ({ row, event, next, protocol }) => {
    const walk = new Walk(protocol === 2 ? WELCOME : undefined);
    for (const step of known(PATHS, row)) walk.take(step);
    walk.take(event);
    expect(await walk.state()).toBe(next);
  });
});
