import { eventually, startNatsCluster, stopAll, type NatsCluster } from '@carillon/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import type { Appended, EventLog, LogEvent } from './event-log.ts';
import { askServer } from './jetstream-api.fixture.ts';
import { openJetStreamLog } from './jetstream-log.ts';
import { anEvent, bytes, numbered, readAll, texts } from './log-world.conformance.ts';

const RECOVERY_MS = 90_000;
// What is under way when something happens to the leader.
const IN_FLIGHT = 300;
// Before it happens, and after everything flows again.
const EVENTS = 500;

/** Appends numbered events pipelined; what is refused for now it appends again in its order, before anything new, as messengers do. */
class PipeliningPublisher {
  readonly acked: Appended[] = [];
  waves = 0;
  isStopped = false;
  readonly #log: EventLog;
  readonly #room: string;
  #counter = 0;
  #inFlight = 0;
  #refused: LogEvent[] = [];
  #again: LogEvent[] = [];

  constructor(log: EventLog, room: string) {
    this.#log = log;
    this.#room = room;
  }

  get written(): number {
    return this.#counter;
  }

  async run(): Promise<void> {
    while (!this.isStopped || this.#inFlight + this.#refused.length + this.#again.length > 0) {
      if (this.#refused.length > 0 && this.#inFlight === 0) this.#takeBack();
      for (let event = this.#next(); event !== undefined; event = this.#next()) this.#append(event);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  #next(): LogEvent | undefined {
    if (this.#refused.length > 0 || this.#inFlight >= IN_FLIGHT) return undefined;
    return this.#again.shift() ?? (this.isStopped ? undefined : anEvent({ room: this.#room, body: bytes(String((this.#counter += 1) - 1)) }));
  }

  #append(event: LogEvent): void {
    this.#inFlight += 1;
    this.#log.append(event).then((appended) => this.acked.push(appended), () => this.#refused.push(event)).finally(() => (this.#inFlight -= 1));
  }

  #takeBack(): void {
    this.waves += 1;
    const number = (event: LogEvent): number => Number(Buffer.from(event.body).toString());
    this.#again = [...this.#refused.sort((one, other) => number(one) - number(other)), ...this.#again];
    this.#refused = [];
  }
}

describe('the order of one publisher on three servers', { timeout: 300_000 }, () => {
  let cluster: NatsCluster;
  let log: EventLog;
  beforeAll(async () => {
    cluster = await startNatsCluster(3, { jetstream: true });
  });
  afterEach(() => log.close());
  afterAll(stopAll);

  const leader = async (): Promise<NatsCluster['servers'][number]> => {
    let found: NatsCluster['servers'][number] | undefined;
    await eventually(async () => {
      for (const server of cluster.servers) {
        const info = await askServer<{ readonly cluster?: { readonly leader?: string } }>(server, '$JS.API.STREAM.INFO.CARILLON').catch(() => undefined);
        found ??= cluster.servers.find(({ port }) => info?.cluster?.leader?.endsWith(`-${port}`));
      }
      return found !== undefined;
    }, { timeoutMs: RECOVERY_MS, what: 'a leader' });
    if (found === undefined) throw new Error('no leader');
    return found;
  };

  /** Opens a log on a server that leads or follows, and lets `happen` happen in the middle of a publisher's events. */
  async function publishThrough(room: string, at: 'leader' | 'follower', happen: (leader: NatsCluster['servers'][number], goesOn: () => Promise<void>) => Promise<void>): Promise<PipeliningPublisher> {
    log = openJetStreamLog({ servers: cluster.urls, name: 'first' });
    await eventually(() => log.state === 'open', { timeoutMs: RECOVERY_MS });
    const leading = await leader();
    await log.close();
    log = openJetStreamLog({ servers: [leading, ...cluster.servers].filter((server) => (at === 'leader') === (server.port === leading.port)).slice(0, 1).map(({ url }) => url), name: 'order' });
    await eventually(() => log.state === 'open', { timeoutMs: RECOVERY_MS });
    const publisher = new PipeliningPublisher(log, room);
    const running = publisher.run();
    await eventually(() => publisher.acked.length > EVENTS);
    const goesOn = async (): Promise<void> => {
      const { length } = publisher.acked;
      await eventually(() => publisher.acked.length > length + EVENTS, { timeoutMs: RECOVERY_MS, what: 'events to be stored again' });
    };
    await happen(leading, goesOn);
    await goesOn();
    publisher.isStopped = true;
    await running;
    return publisher;
  }

  /** Reads until that works: the cluster may still be looking for its leaders. */
  const stored = async (room: string): Promise<readonly string[]> => {
    let got: readonly string[] = [];
    await eventually(async () => {
      got = texts(await readAll(log, [room], { maxEvents: 500 }));
      return true;
    }, { timeoutMs: RECOVERY_MS, what: 'the log to be read' });
    return got;
  };

  it.each(['follower', 'leader'] as const)('stays when the leader is killed, published to a %s', async (at) => {
    const room = `killed-${at}`;
    const publisher = await publishThrough(room, at, async (leading) => {
      await leading.kill();
      await leading.restart();
    });

    expect(await stored(room)).toEqual(numbered(publisher.written));
    expect(publisher.acked.filter(({ duplicate }) => duplicate).length).toBeLessThanOrEqual(publisher.waves * IN_FLIGHT);
  });

  it.each(['follower', 'leader'] as const)('stays when the leader stands still for so long that another one leads, published to a %s', async (at) => {
    const room = `frozen-${at}`;
    const publisher = await publishThrough(room, at, async (leading, goesOn) => {
      leading.pause();
      // With another leader: more than what was under way.
      await goesOn().finally(() => leading.resume());
    });

    expect(await stored(room)).toEqual(numbered(publisher.written));
  });
});
