import { connect, type Messenger } from '@carillon/messenger';

import type { ReadEvent, ReadGap, ReaderLog, WrittenEvent } from './chaos-checker.ts';

const BACKOFF = { firstMs: 50, capMs: 1_000 };

/** A messenger that reads rooms from the log's beginning on and notes what it gets. */
export class ChaosReader {
  readonly log: ReaderLog;
  readonly #messenger: Messenger;
  readonly #got = new Set<string>();
  #ended: string | undefined;

  constructor(name: string, url: string, rooms: readonly string[]) {
    const events: ReadEvent[] = [];
    const gaps: ReadGap[] = [];
    this.log = { name, wants: (room) => rooms.includes(room) || rooms.some((pattern) => pattern.endsWith('*')), events, gaps };
    this.#messenger = connect(url, { backoff: BACKOFF });
    this.#messenger.subscribe<{ writer: string; counter: number }>(rooms, (event) => {
      const { writer, counter } = event.json();
      events.push({ room: event.room, writer, counter, seq: event.seq ?? 0 });
      this.#got.add(`${writer}-${counter}`);
    }, { since: { seq: 0 }, onGap: ({ from, to }) => void gaps.push({ from, to }), onError: (error) => (this.#ended = String(error)) });
  }

  get isReady(): boolean {
    return this.#messenger.state.status === 'open';
  }

  /** What of these it wants and does not have. */
  lacks(marks: readonly WrittenEvent[]): readonly string[] {
    const missing = marks.filter(({ room, writer, counter }) => this.log.wants(room) && !this.#got.has(`${writer}-${counter}`));
    return missing.map(({ writer, counter }) => `${this.log.name} (${this.#ended ?? this.#messenger.state.status}, at ${this.log.events.at(-1)?.seq ?? 0}) lacks ${writer}-${counter}`);
  }

  close(): Promise<void> {
    return this.#messenger.close();
  }
}
