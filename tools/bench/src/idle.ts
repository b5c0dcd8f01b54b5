import { eventually } from '@carillon/testing';

import { wait } from './fan-out.ts';
import { RawPeer } from './raw-peer.ts';
import type { Subject } from './subject.ts';

/** What a connection that says nothing costs: growth of the server's resident memory over the number of connections. */
export interface IdleResult {
  readonly connections: number;
  readonly bytesPerConnection: number;
  readonly rssBeforeBytes: number;
  readonly rssAfterBytes: number;
}

/** Local addresses to come from: one has 28,000 ports. */
const SOURCES = 4;
const AT_ONCE = 100;
const SETTLE_MS = 5_000;

export async function measureIdle(subject: Subject, connections: number): Promise<IdleResult> {
  await wait(1_000);
  const rssBeforeBytes = subject.rssBytes();
  const peers: RawPeer[] = [];
  while (peers.length < connections) {
    const batch = Math.min(AT_ONCE, connections - peers.length);
    peers.push(...(await Promise.all(Array.from({ length: batch }, (_, index) =>
      RawPeer.connect({ port: subject.port, path: subject.path, from: `127.0.0.${1 + ((peers.length + index) % SOURCES)}` })))));
  }
  for (const [index, peer] of peers.entries()) peer.subscribe([`IDLE-${index % 500}`]);
  await wait(SETTLE_MS);
  let last = 0;
  await eventually(() => {
    const now = subject.rssBytes();
    const settled = Math.abs(now - last) < 262_144;
    last = now;
    return settled;
  }, { intervalMs: 500, timeoutMs: 20_000, what: 'memory to settle' });
  const rssAfterBytes = subject.rssBytes();
  for (const peer of peers) peer.destroy();
  return { connections, bytesPerConnection: Math.round((rssAfterBytes - rssBeforeBytes) / connections), rssBeforeBytes, rssAfterBytes };
}
