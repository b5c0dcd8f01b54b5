import { describe, expect, it } from 'vitest';
import type { Consumer, Delivery } from './consumer.ts';
import { fates, type Fate } from './deliveries.test.fixture.ts';
import { turn } from './fakes.test.fixture.ts';
import { joinedRig, type ModelRig } from './model-rig.test.fixture.ts';
import { known, specCells } from './spec.test.fixture.ts';

const NOT_KEPT = 'LOG_UNAVAILABLE';

/** The delivery of sequence 1 to a member with a window of two, moved by hand. */
class Walk {
  readonly #rig: ModelRig;
  readonly #consumer: Consumer;
  readonly #reader: AsyncIterator<Delivery, undefined>;
  #delivery: Delivery | undefined;
  /** What became of each call that settles it. */
  readonly #calls: Fate[][] = [];

  private constructor(rig: ModelRig) {
    this.#rig = rig;
    this.#consumer = rig.messenger.consume('jobs', 'A', { window: 2 });
    this.#reader = this.#consumer[Symbol.asyncIterator]() as AsyncIterator<Delivery, undefined>;
  }

  static async create(): Promise<Walk> {
    const rig = await joinedRig();
    const walk = new Walk(rig);
    await rig.settle();
    walk.#give(1, 1);
    return walk;
  }

  readonly #events: Readonly<Record<string, () => unknown>> = {
    read: async () => (this.#delivery = (await this.#reader.next()).value),
    'settle called': () => this.#call(),
    'another try of it comes': () => this.#give(1, 2),
    'too old for the window': () => [2, 3].forEach((seq) => this.#give(seq, 1)),
    settled: () => this.#rig.peer.say({ op: 'settled', request: '__1', seqs: [1] }),
    'settled as unknown': () => this.#rig.peer.say({ op: 'settled', request: '__1', seqs: [1], unknown: [1] }),
    'not kept': () => this.#rig.peer.say({ op: 'error', code: NOT_KEPT, request: '__1' }),
    'connection lost': () => this.#rig.cut(),
    'member closed': () => void this.#consumer.close(),
  };

  async take(event: string): Promise<void> {
    await known(this.#events, event)();
    this.#rig.down();
    await turn();
  }

  /** What became of it, as SPEC.md says it: the state, the code that a call was told, or both. */
  async state(): Promise<string> {
    if (this.#delivery === undefined) return await this.#isNext() ? 'unread' : 'gone';
    const [first, again] = this.#calls.map(([fate = 'waits']) => fate);
    if (again !== undefined) return codeOf(again);
    if (first === 'waits') return 'said';
    if (first === 'kept') return 'kept';
    this.#call();
    await turn();
    const state = this.#calls.at(-1)?.[0] === 'waits' ? 'held' : 'gone';
    return first === undefined ? state : `${state}: ${codeOf(first)}`;
  }

  #call(): void {
    if (this.#delivery !== undefined) this.#calls.push(fates([this.#delivery.ack()]));
  }

  #give(seq: number, attempt: number): void {
    this.#rig.peer.give({ room: 'A', id: `id-${seq}`, seq, from: 'somebody', body: `${seq}` }, '__1', attempt);
    this.#rig.down();
  }

  async #isNext(): Promise<boolean> {
    let isIt = false;
    void this.#reader.next().then(({ value }) => (isIt = value?.event.seq === 1 && value.attempt === 1));
    await turn();
    return isIt;
  }
}

const codeOf = (fate: Fate): string => (typeof fate === 'object' ? fate.code ?? '' : fate);

const PATHS: Readonly<Record<string, readonly string[]>> = {
  unread: [],
  held: ['read'],
  said: ['read', 'settle called'],
  kept: ['read', 'settle called', 'settled'],
  gone: ['read', 'settle called', 'settled as unknown'],
};

const cells = specCells('A delivery').flatMap(({ row, ...rest }) => row.split(', ').map((state) => ({ row: state, ...rest })));

describe('the table of a delivery', () => {
  it.each(cells)('$row on $event is $cell', async ({ row, event, cell }) => {
    const walk = await Walk.create();
    for (const step of known(PATHS, row)) await walk.take(step);
    await walk.take(event);
    expect(await walk.state()).toBe(cell.replace('the code', NOT_KEPT));
  });
});
