import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { LogError, LogEvent } from './event-log.ts';
import { JetStreamAppender } from './jetstream-append.ts';
import type { Awaiting } from './jetstream-link.ts';
import type { OpenStream } from './jetstream-stream.ts';
import { anEvent, numbered, WORKSPACE } from './log-world.conformance.ts';

type Answer = Parameters<Awaiting['answered']>[0];

const TIMEOUT_MS = 10_000;
const BUSY = '{"error":{"code":400,"err_code":10158,"description":"duplicate message id is in process"},"stream":"CARILLON","seq":0}';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** An appender on a stream whose leader answers what `answer` says of a message id; `stored` are the ids that it took, in order. */
function world(answer: (messageId: string) => string | undefined) {
  const stored: string[] = [];
  const link = {
    payloadMaxBytes: Infinity,
    send: (_subject: string, _data: Uint8Array, publish: Awaiting, header: { encode(): Uint8Array }) => {
      const messageId = /Nats-Msg-Id: ?([^\r]*)/.exec(Buffer.from(header.encode()).toString())?.[1] ?? '';
      setTimeout(() => {
        const said = answer(messageId) ?? `{"stream":"CARILLON","seq":${stored.push(messageId)}}`;
        publish.answered({ data: new TextEncoder().encode(said), string: () => said } as Answer);
      }, 1);
    },
  };
  const appender = new JetStreamAppender({ eventMaxBytes: 1_000, inFlightMaxBytes: 100_000, timeoutMs: TIMEOUT_MS, nobodyThere: () => undefined });
  appender.attach({ link, name: 'CARILLON', epoch: 'one', replicas: 3, seen: { head: 0 } } as unknown as OpenStream);
  const outcomes: string[] = [];
  return {
    stored,
    outcomes,
    append: (events: readonly LogEvent[]) => {
      for (const event of events) appender.append(event).then(() => outcomes.push(`${event.id} stored`), ({ code }: LogError) => outcomes.push(`${event.id} ${code}`));
    },
  };
}

const eventsOf = (count: number): readonly LogEvent[] => numbered(count).map((id) => anEvent({ id, room: 'a' }));
const idOf = (event: string): string => `${WORKSPACE}/${event}`;

describe('an id that the server is just storing', () => {
  it('holds what was appended after it, and is refused with it, in order', async () => {
    let isBusy = true;
    const { append, stored, outcomes } = world((messageId) => (isBusy && messageId === idOf('0') ? BUSY : undefined));
    append(eventsOf(3).slice(0, 1));
    await vi.advanceTimersByTimeAsync(5);
    append(eventsOf(3).slice(1));
    await vi.advanceTimersByTimeAsync(TIMEOUT_MS - 500);
    expect([stored, outcomes]).toEqual([[], []]);
    await vi.advanceTimersByTimeAsync(1_000);
    expect([stored, outcomes.splice(0)]).toEqual([[], ['0 LOG_UNAVAILABLE', '1 LOG_UNAVAILABLE', '2 LOG_UNAVAILABLE']]);
    isBusy = false;
    append(eventsOf(3));
    await vi.advanceTimersByTimeAsync(1_000);

    expect([stored, outcomes]).toEqual([['0', '1', '2'].map(idOf), ['0 stored', '1 stored', '2 stored']]);
  });

  it('is sent as another one when a leader with a quorum must have stored it long ago', async () => {
    const { append, stored, outcomes } = world((messageId) => (messageId === idOf('0') ? BUSY : undefined));
    for (let round = 0; round < 2; round += 1) {
      append(eventsOf(2));
      await vi.advanceTimersByTimeAsync(TIMEOUT_MS + 100);
    }
    expect([stored, outcomes.splice(0).length]).toEqual([[], 4]);
    append(eventsOf(2));
    await vi.advanceTimersByTimeAsync(TIMEOUT_MS);

    expect([stored, outcomes]).toEqual([[idOf('0~0'), idOf('1')], ['0 stored', '1 stored']]);
  });
});
