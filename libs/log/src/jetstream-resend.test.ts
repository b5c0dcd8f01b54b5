import { eventually, startFaultProxy, startNatsServer, stopAll, type FaultProxy } from '@carillon/testing';
import { afterEach, describe, expect, it } from 'vitest';

import type { Appended, EventLog, LogError, LogEvent } from './event-log.ts';
import { openJetStreamLog, type JetStreamLogOptions } from './jetstream-log.ts';
import { anEvent, bytes, numbered, readAll, texts } from './log-world.conformance.ts';

const logs: EventLog[] = [];
afterEach(async () => {
  await Promise.all(logs.splice(0).map((log) => log.close()));
  await stopAll();
});

/** A log that reaches its server through `proxy`, and one that always reaches it. */
async function open(options: Partial<JetStreamLogOptions> = {}): Promise<{ readonly log: EventLog; readonly witness: EventLog; readonly proxy: FaultProxy }> {
  const server = await startNatsServer({ jetstream: true });
  const proxy = await startFaultProxy({ targetPort: server.port });
  const log = openJetStreamLog({ servers: [`nats://127.0.0.1:${proxy.port}`], name: 'resend', timeoutMs: 20_000, ...options });
  const witness = openJetStreamLog({ servers: [server.url], name: 'witness' });
  logs.push(log, witness);
  await Promise.all([log.bounds(), witness.bounds()]);
  await log.append(anEvent({ room: 'first' }));
  return { log, witness, proxy };
}

const eventsOf = (count: number): LogEvent[] => numbered(count).map((body) => anEvent({ room: 'a', body: bytes(body) }));
const refusalsOf = async (appending: readonly Promise<Appended>[]): Promise<unknown[]> => (await Promise.allSettled(appending)).map((outcome): unknown => (outcome.status === 'rejected' ? outcome.reason : undefined));
const isUnsent = ({ code, message }: LogError): boolean => code === 'LOG_UNAVAILABLE' && /was not sent/.test(message);
const isMaybeStored = ({ code, message }: LogError): boolean => code === 'LOG_UNAVAILABLE' && /may or may not be stored/.test(message);

describe('what a JetStream log has sent and not heard of', { timeout: 120_000 }, () => {
  it('is sent again when the connection is lost, in its order, and nobody hears of it', async () => {
    const { log, witness, proxy } = await open();
    const events = eventsOf(50);
    proxy.stall();
    const appending = Promise.all(events.map((event) => log.append(event)));
    proxy.cut();
    await proxy.heal();
    const appended = await appending;

    expect(appended.map(({ duplicate }) => duplicate)).toEqual(events.map(() => false));
    const stored = await readAll(witness, ['a']);
    expect(texts(stored)).toEqual(numbered(50));
    expect(appended.map(({ seq }) => seq)).toEqual(stored.map(({ seq }) => seq));
  });

  it('may be stored already: then it is no duplicate, but what its caller repeats is one', async () => {
    const { log, witness, proxy } = await open();
    const events = eventsOf(50);
    // Answers come too slowly to be heard; what is sent arrives.
    proxy.limitBytesPerSecond(1);
    const appending = events.map((event) => log.append(event));
    await eventually(async () => (await readAll(witness, ['a'])).length === 50);
    const repeated = log.append(events[0] as LogEvent);
    proxy.cut();
    proxy.limitBytesPerSecond(Infinity);
    await proxy.heal();
    const appended = await Promise.all(appending);

    expect(appended.map(({ duplicate }) => duplicate)).toEqual(events.map(() => false));
    expect(await repeated).toEqual({ ...appended[0], duplicate: true });
    expect(await log.append(events[1] as LogEvent)).toEqual({ ...appended[1], duplicate: true });
    expect(appended.map(({ seq }) => seq)).toEqual((await readAll(witness, ['a'])).map(({ seq }) => seq));
  });

  it('keeps back what comes after it, up to a bound', async () => {
    const body = new Uint8Array(10_000);
    const { log, witness, proxy } = await open({ inFlightMaxBytes: 500_000 });
    proxy.stall();
    const appending = Array.from({ length: 60 }, () => log.append(anEvent({ room: 'a', body })));
    const refusals = await refusalsOf(appending.slice(47));
    expect(refusals).toEqual(refusals.map(() => expect.objectContaining({ code: 'LOG_BACKLOGGED' }) as unknown));
    expect(log.counts.backlogged).toBe(13);
    await proxy.heal();
    const appended = await Promise.all(appending.slice(0, 47));

    expect(appended.map(({ seq }) => seq)).toEqual((await readAll(witness, ['a'])).map(({ seq }) => seq));
    expect(log.counts.waitingBytes).toBe(0);
  });

  it('is refused after its time, with all that was appended after it, and stored once when it comes again', async () => {
    const { log, witness, proxy } = await open({ timeoutMs: 2_000 });
    const events: LogEvent[] = [];
    const outcomes: Promise<unknown>[] = [];
    const refused: { readonly id: string; readonly error: LogError }[] = [];
    proxy.stall();
    await eventually(() => {
      if (refused.length > 0) return true;
      const event = anEvent({ room: 'a', body: bytes(String(events.length)) });
      events.push(event);
      outcomes.push(log.append(event).catch((error: unknown) => refused.push({ id: event.id, error: error as LogError })));
      return false;
    }, { intervalMs: 20 });
    await Promise.all(outcomes);
    const sent = refused.findIndex(({ error }) => isUnsent(error));
    expect(refused.map(({ id }) => id)).toEqual(events.map(({ id }) => id));
    expect(sent).toBeGreaterThan(0);
    expect(refused.slice(0, sent).every(({ error }) => isMaybeStored(error))).toBe(true);
    expect(refused.slice(sent).every(({ error }) => isUnsent(error))).toBe(true);
    await proxy.heal();
    const again = await Promise.all(events.map((event) => log.append(event)));

    expect(again.map(({ seq }) => seq)).toEqual((await readAll(witness, ['a'])).map(({ seq }) => seq));
    expect(texts(await readAll(witness, ['a']))).toEqual(numbered(events.length));
  });
});
