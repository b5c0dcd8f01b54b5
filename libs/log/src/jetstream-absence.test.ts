import { describe, expect, it } from 'vitest';

import type { ConsumerSpec } from './event-log.ts';
import { ConsumerAbsence } from './jetstream-absence.ts';
import { listConsumers } from './jetstream-consumers.ts';
import { ApiFault, type JetStreamLink } from './jetstream-link.ts';
import type { OpenStream } from './jetstream-stream.ts';

const SPEC: ConsumerSpec = { workspaceId: 'w', name: 'c', rooms: ['a'], from: 'now', ackTimeoutMs: 1_000, maxDeliveries: 3, maxInFlight: 10 };
const CONSUMER_UNKNOWN = 10_014;
const STEP_MS = 1_000;

/** The API of a server that a test tells what to say. */
class ScriptedServer {
  consumer: 'there' | 'other' | 'not found' | 'silent' = 'not found';
  leader: string | undefined = 'one';
  missing: readonly string[] = [];
  readonly stream: OpenStream;

  constructor(isClustered = true) {
    const link = { isClustered, api: (path: string) => this.#answer(path), ask: (path: string) => this.#answer(path) } as Partial<JetStreamLink> as JetStreamLink;
    this.stream = { link, name: 'LOG', goneName: 'LOG_GONE', epoch: 'e', replicas: 3, hasMultiLast: true, seen: { head: 0 } };
  }

  async #answer(path: string): Promise<unknown> {
    if (path.startsWith('STREAM.INFO')) return { state: { last_seq: 0 }, cluster: this.leader === undefined ? {} : { leader: this.leader }, config: { metadata: { carillon_epoch: 'e' } }, created: '' };
    const info = { config: { metadata: { carillon_spec: JSON.stringify(this.consumer === 'other' ? { ...SPEC, maxInFlight: 11 } : SPEC) } } };
    if (path.startsWith('CONSUMER.LIST')) return { consumers: [info], total: 1, missing: this.missing };
    if (this.consumer === 'silent') throw new Error('no answer');
    if (this.consumer === 'not found') throw new ApiFault(CONSUMER_UNKNOWN, 'consumer not found');
    return info;
  }
}

/** Asks once a second for so long; gives what was said each time. */
function asker(server: ScriptedServer) {
  let nowMs = 0;
  const absence = new ConsumerAbsence(SPEC, () => nowMs);
  const ask = async (seconds: number): Promise<string[]> => {
    const said: string[] = [];
    for (let second = 0; second < seconds; second += 1) {
      nowMs += STEP_MS;
      said.push(await absence.look(server.stream).then((info) => (info === undefined ? 'gone' : 'there'), () => 'uncertain'));
    }
    return said;
  };
  return { absence, ask, pass: (ms: number) => void (nowMs += ms) };
}

describe('a consumer that a server of a cluster does not know', () => {
  it('is gone when that is said again and again for longer than a leader without a quorum takes itself for one', async () => {
    const said = await asker(new ScriptedServer()).ask(26);
    expect(said.slice(0, 21)).toEqual(Array.from({ length: 21 }, () => 'uncertain'));
    expect(said.at(-1)).toBe('gone');
  });

  it.each(['there', 'silent'] as const)('is not gone when it was %s in between', async (between) => {
    const server = new ScriptedServer();
    const { ask } = asker(server);
    await ask(20);
    server.consumer = between;
    expect(await ask(1)).toEqual([between === 'there' ? 'there' : 'uncertain']);
    server.consumer = 'not found';
    expect(new Set(await ask(20))).toEqual(new Set(['uncertain']));
  });

  it('is not gone while the stream has no leader, or for a process that stood still', async () => {
    const server = new ScriptedServer();
    server.leader = undefined;
    const { ask, pass } = asker(server);
    expect(new Set(await ask(60))).toEqual(new Set(['uncertain']));
    server.leader = 'one';
    await ask(3);
    pass(60_000);
    expect(await ask(3)).toEqual(['uncertain', 'uncertain', 'uncertain']);
  });

  it('is gone at once when this process deleted it, or when there is one server', async () => {
    const { absence, ask } = asker(new ScriptedServer());
    absence.deleted();
    expect(await ask(1)).toEqual(['gone']);
    expect(await asker(new ScriptedServer(false)).ask(1)).toEqual(['gone']);
  });

  it('is gone when another one has its name', async () => {
    const server = new ScriptedServer();
    server.consumer = 'other';
    expect(await asker(server).ask(1)).toEqual(['gone']);
  });
});

describe('a listing of consumers', () => {
  it('is none when some did not answer: they would be taken for deleted', async () => {
    const server = new ScriptedServer();
    server.consumer = 'there';
    expect(await listConsumers(server.stream, 'w')).toEqual([SPEC]);
    server.missing = ['w__other'];
    await expect(listConsumers(server.stream, 'w')).rejects.toMatchObject({ code: 'LOG_UNAVAILABLE' });
  });
});
