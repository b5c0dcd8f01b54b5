import { describe, expect, it } from 'vitest';
import { fates } from './deliveries.test.fixture.ts';
import { turn } from './fakes.test.fixture.ts';
import { arrive } from './heard.test.fixture.ts';
import { joinedRig, type ModelRig } from './model-rig.test.fixture.ts';
import { known, specCells } from './spec.test.fixture.ts';

const TIMEOUT_MS = 15_000;
const PUBLISH_TIMEOUT_MS = 30_000;

/** One request, moved by hand. */
class Walk {
  readonly #rig: ModelRig;
  readonly #abort = new AbortController();
  readonly #fates: ReturnType<typeof fates>;

  private constructor(rig: ModelRig, timeoutMs: number) {
    this.#rig = rig;
    this.#fates = fates([rig.messenger.request('A', 'ask', { id: 'one', timeoutMs, signal: this.#abort.signal })]);
  }

  static async create(timeoutMs: number): Promise<Walk> {
    const rig = await joinedRig({ publishTimeoutMs: PUBLISH_TIMEOUT_MS });
    const walk = new Walk(rig, timeoutMs);
    await rig.settle();
    return walk;
  }

  readonly #events: Readonly<Record<string, () => unknown>> = {
    published: () => this.#rig.peer.answer(),
    reply: () => arrive(this.#rig, 'A', { id: 'two', cid: 'one' }),
    'publish refused': () => this.#rig.peer.say({ op: 'error', code: 'SEND_DENIED', request: 'one' }),
    'given up': () => this.#rig.clock.advance(PUBLISH_TIMEOUT_MS),
    timeout: () => this.#rig.clock.advance(TIMEOUT_MS),
    abort: () => this.#abort.abort(),
    'connection lost': () => this.#rig.rejoin(),
    'messenger ends': () => void this.#rig.messenger.close(),
  };

  async take(event: string): Promise<void> {
    await known(this.#events, event)();
    this.#rig.down();
    await turn();
  }

  /** By what became of its promise; while that waits, by whether it goes again over another connection. */
  async state(): Promise<string> {
    const [fate] = this.#fates;
    if (fate !== 'waits') return fate === 'kept' ? 'replied' : 'rejected';
    await this.#rig.rejoin();
    return this.#rig.transport.socket.transcript.includes('A ask') ? 'publishing' : 'published';
  }
}

const PATHS: Readonly<Record<string, readonly string[]>> = { publishing: [], published: ['published'] };

/** A column of two events is two; what a cell says besides the state is held by the test of R3. */
const cells = specCells('A request').flatMap(({ row, event, cell }) => event.split(/, | or /).map((each) => ({ row, event: each, next: cell.replace(/;.*$/, '') })));

describe('the table of a request', () => {
  it.each(cells)('$row on $event is $next', async ({ row, event, next }) => {
    const walk = await Walk.create(event === 'given up' ? PUBLISH_TIMEOUT_MS * 2 : TIMEOUT_MS);
    for (const step of known(PATHS, row)) await walk.take(step);
    await walk.take(event);
    expect(await walk.state()).toBe(next);
  });
});
