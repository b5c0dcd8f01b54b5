import { presentedKey } from '@carillon/access';

import { writeKeyedCopy } from './keyed-copy.ts';
import { RawPeer } from './raw-peer.ts';
import { startHubSubject, type Subject } from './subject.ts';

/**
 * What a key costs: the decision alone (reading the request, hashing, comparing), in this process over many; and whole
 * handshakes at a hub with keys and at one without, in turns.
 */
export interface AuthoriseResult {
  /** CPU time of one decision, with 10,000 keys in the copy. */
  readonly decisionCpuMicros: number;
  readonly handshakeWithKeyCpuMicros: number;
  readonly handshakeWithoutKeyCpuMicros: number;
}

const KEYS = 10_000;
const DECISIONS = 20_000;
const HANDSHAKES = 2_000;
const AT_ONCE = 50;
const ROUNDS = 3;

export async function measureAuthorise(): Promise<AuthoriseResult> {
  const decisionCpuMicros = await measureDecision();
  const [keyed, open] = [await startHubSubject(), await startHubSubject({ CARILLON_HUB_ACCESS: 'open' }, { keyless: true })];
  try {
    const figures = { keyed: [] as number[], open: [] as number[] };
    await Promise.all([measureHandshakes(keyed), measureHandshakes(open)]); // warm
    for (let round = 0; round < ROUNDS; round += 1) {
      figures.keyed.push(await measureHandshakes(keyed));
      figures.open.push(await measureHandshakes(open));
    }
    return { decisionCpuMicros, handshakeWithKeyCpuMicros: median(figures.keyed), handshakeWithoutKeyCpuMicros: median(figures.open) };
  } finally {
    await Promise.all([keyed.stop(), open.stop()]);
  }
}

async function measureDecision(): Promise<number> {
  const { accessKey, copy, remove } = await writeKeyedCopy(KEYS);
  const decide = (): boolean => {
    const presented = presentedKey({ headers: {}, url: `/k/${accessKey}/connect/messenger` });
    return presented.ok && presented.key !== undefined && copy.authenticate(presented.key).ok;
  };
  const run = (): number => {
    const before = process.cpuUsage();
    for (let count = 0; count < DECISIONS; count += 1) if (!decide()) throw new Error('the key is not taken');
    const { user, system } = process.cpuUsage(before);
    return (user + system) / DECISIONS;
  };
  run(); // warm
  const figures = Array.from({ length: ROUNDS }, run);
  await remove();
  return median(figures);
}

async function measureHandshakes(subject: Subject): Promise<number> {
  const before = subject.cpuSeconds();
  for (let made = 0; made < HANDSHAKES; made += AT_ONCE) {
    const peers = await Promise.all(Array.from({ length: AT_ONCE }, () => RawPeer.connect({ port: subject.port, path: subject.path })));
    for (const peer of peers) peer.destroy();
  }
  return Math.round(((subject.cpuSeconds() - before) * 1_000_000) / HANDSHAKES);
}

function median(figures: number[]): number {
  const sorted = [...figures].sort((left, right) => left - right);
  return Math.round((sorted[Math.floor(sorted.length / 2)] ?? 0) * 10) / 10;
}
