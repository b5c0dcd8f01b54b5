import { describe, expect, it } from 'vitest';
import { FakeClock } from './fakes.test.fixture.ts';
import { known, specCells } from './spec.test.fixture.ts';
import { StandingRequests } from './standing-requests.ts';

/** One standing request, moved by hand. */
class Walk {
  readonly #all = new StandingRequests({ clock: new FakeClock(), backoff: { firstMs: 1_000, capMs: 1_000 }, report: () => undefined, onChange: () => undefined });
  readonly #request = this.#all.open({ ask: (request) => ({ op: 'enter', request, room: 'A' }), ended: () => undefined });
  #name = '';

  readonly #events: Readonly<Record<string, () => unknown>> = {
    asked: () => {
      this.#all.changes();
      this.#name = this.#request.name ?? '';
    },
    taken: () => this.#all.hear({ op: 'entered', request: this.#name }),
    'refused for now': () => this.#all.hear({ op: 'error', code: 'LOG_UNAVAILABLE', request: this.#name }),
    'refused for good': () => this.#all.hear({ op: 'error', code: 'RECEIVE_DENIED', request: this.#name }),
    'connection lost': () => this.#all.forget(),
    closed: () => this.#request.close(),
  };

  take(event: string): void {
    known(this.#events, event)();
  }

  /** Where it is, and whether the hub is told to drop it. */
  state(): string {
    const state = this.#named();
    const isDropped = this.#all.changes().includes(`{"op":"unsubscribe","request":"${this.#name}"}`);
    return isDropped ? `${state}: unsubscribe` : state;
  }

  #named(): string {
    if (this.#request.isEnded) return 'ended';
    if (this.#request.isInForce) return 'in force';
    return this.#all.named(this.#name) === this.#request ? 'asked' : 'away';
  }
}

const PATHS: Readonly<Record<string, readonly string[]>> = { away: [], asked: ['asked'], 'in force': ['asked', 'taken'] };

describe('the table of a standing request', () => {
  it.each(specCells('A standing request'))('$row on $event is $cell', ({ row, event, cell }) => {
    const walk = new Walk();
    for (const step of known(PATHS, row)) walk.take(step);
    walk.take(event);
    expect(walk.state()).toBe(cell);
  });
});
