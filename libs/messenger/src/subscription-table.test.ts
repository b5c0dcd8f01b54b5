import { describe, expect, it } from 'vitest';
import { FrameEvent } from './received-event.ts';
import { Requests } from './requests.ts';
import { known, specCells } from './spec.test.fixture.ts';
import { RoomSubscription } from './subscription.ts';

/** One subscription and what asks the hub for it, moved by hand. */
class Walk {
  readonly #requests = new Requests((error) => expect(error).toBeUndefined());
  readonly #subscription: RoomSubscription;
  #hasRoom = true;
  #taken = 0;
  #seq = 10;
  /** Under which it was asked last. */
  #name = '';

  constructor() {
    const sink = { push: () => this.#push(), end: () => undefined, clear: () => undefined, next: () => Promise.reject(new Error('it is not read')) };
    this.#subscription = new RoomSubscription(['A'], { sink, request: {}, onGap: () => undefined, onRestart: (subscription) => this.#requests.again(subscription), onClosed: () => undefined });
    this.#requests.add(this.#subscription);
  }

  readonly #events: Readonly<Record<string, () => void>> = {
    asked: () => void this.ask(),
    subscribed: () => void this.#requests.hear({ op: 'subscribed', request: this.#name, seq: this.#seq, epoch: 'e' }),
    live: () => void this.#requests.hear({ op: 'live', request: this.#name, seq: this.#seq }),
    behind: () => void this.#requests.hear({ op: 'behind', request: this.#name, seq: this.#seq }),
    'no room': () => {
      this.#hasRoom = false;
      this.#takes(true);
    },
    'room again': () => this.#subscription.resume(),
    'connection lost': () => this.#requests.forget(),
  };

  take(event: string): void {
    known(this.#events, event)();
  }

  /** Asks for what is due; whether it was asked under another name than before. */
  ask(): boolean {
    const before = this.#name;
    for (const text of this.#requests.changes()) {
      const { op, request } = JSON.parse(text) as { readonly op: string; readonly request: string };
      if (op === 'subscribe') this.#name = request;
    }
    return this.#name !== before;
  }

  /** Where it is: by which events it takes, and what the hub was asked. */
  state(): string {
    const isNamed = this.#requests.named(this.#name) !== undefined;
    const isInForce = this.#requests.areInForce;
    this.#hasRoom = true;
    const [takesAnswers, takesAll] = [this.#takes(true), this.#takes(false)];
    if (!takesAnswers) return takesAll ? 'for all only' : 'paused';
    if (!isNamed) return takesAll ? 'live without being asked' : 'away';
    if (takesAll) return 'live';
    return isInForce ? 'catching-up' : 'asked';
  }

  #takes(isAnswer: boolean): boolean {
    const before = this.#taken;
    this.#subscription.receive(new FrameEvent('A', new Uint8Array(), { seq: (this.#seq += 1) }), { isAnswer, isOwn: false });
    return this.#taken > before;
  }

  #push(): boolean {
    if (this.#hasRoom) this.#taken += 1;
    return this.#hasRoom;
  }
}

const PATHS: Readonly<Record<string, readonly string[]>> = {
  away: [],
  asked: ['asked'],
  'catching-up': ['asked', 'subscribed'],
  live: ['asked', 'subscribed', 'live'],
  paused: ['asked', 'subscribed', 'live', 'no room'],
};

describe('the table of a subscription', () => {
  it.each(specCells('A subscription'))('$row on $event is $cell', ({ row, event, cell }) => {
    const walk = new Walk();
    for (const step of known(PATHS, row)) walk.take(step);
    walk.take(event);
    if (cell.endsWith(' *')) expect(walk.ask()).toBe(true);
    expect(walk.state()).toBe(cell.replace(' *', ''));
  });
});
