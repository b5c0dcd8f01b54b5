import type { ErrorCode } from '@carillon/wire';
import { describe, expect, it } from 'vitest';
import { AccessKeys } from './access-keys.ts';
import { fates } from './deliveries.test.fixture.ts';
import { turn } from './fakes.test.fixture.ts';
import { known, specCells } from './spec.test.fixture.ts';

/** One new key, moved by hand. */
class Walk {
  readonly #keys = new AccessKeys({ access: { url: 'ws://hub', headers: {} }, sendsHeaders: true, onChange: () => undefined });
  readonly #fates = fates([this.#keys.refresh('new')]);
  /** Under which the hub was asked. */
  #name = '';

  readonly #events: Readonly<Record<string, () => unknown>> = {
    asked: () => {
      this.#keys.greet(2);
      for (const text of this.#keys.asks()) this.#name = (JSON.parse(text) as { readonly request: string }).request;
    },
    refreshed: () => this.#keys.refreshed(this.#name),
    refused: () => this.#refuse(),
    dialled: () => this.#keys.present(),
    'opened (second protocol)': () => this.#keys.greet(2),
    'opened (first)': () => this.#keys.greet(1),
    'connection lost (its code is of access)': () => this.#lose('ACCESS_KEY_EXPIRED'),
    'connection lost (else)': () => this.#lose('LINK_UNREACHABLE'),
  };

  take(event: string): void {
    known(this.#events, event)();
  }

  /** Where it is: by what became of its promise, then by what a hub can still say of it. */
  async state(): Promise<string> {
    const ended = await this.#end();
    if (ended !== undefined) return ended;
    if (this.#refuse()) return 'asked';
    this.#keys.greet(2);
    if (await this.#end() === 'taken') return 'presented';
    return this.#keys.isPending ? 'waiting' : 'forgotten';
  }

  async #end(): Promise<string | undefined> {
    await turn();
    const [fate] = this.#fates;
    if (fate === 'waits') return undefined;
    const isShown = this.#keys.present().headers['authorization'] === 'Bearer new';
    if (fate === 'kept') return isShown ? 'taken' : 'taken, and not shown';
    return isShown ? 'rejected, and shown' : 'rejected';
  }

  #refuse(): boolean {
    return this.#keys.refused({ op: 'error', code: 'ACCESS_KEY_INVALID', request: this.#name });
  }

  #lose(code: ErrorCode): void {
    this.#keys.lost({ kind: 'lost', code, detail: '', retryAfterMs: 0 });
  }
}

const PATHS: Readonly<Record<string, readonly string[]>> = { waiting: [], asked: ['asked'], presented: ['dialled'] };
/** Columns that come in two kinds, and what SPEC.md calls them where a cell tells them apart. */
const KINDS: Readonly<Record<string, readonly string[]>> = { opened: ['second protocol', 'first'], 'connection lost': ['its code is of access', 'else'] };

const cells = specCells('A new key').flatMap(({ row, event, cell }) => (KINDS[event] ?? ['']).map((kind) => {
  const [, next = cell] = cell.split('; ').map((part) => (part.startsWith(kind) ? /^.*? (\S+)$/.exec(part.slice(kind.length)) : null)).find((match) => match !== null) ?? [];
  return { row, event: kind === '' ? event : `${event} (${kind})`, next };
}));

describe('the table of a new key', () => {
  it.each(cells)('$row on $event is $next', async ({ row, event, next }) => {
    const walk = new Walk();
    for (const step of known(PATHS, row)) walk.take(step);
    walk.take(event);
    expect(await walk.state()).toBe(next);
  });
});
