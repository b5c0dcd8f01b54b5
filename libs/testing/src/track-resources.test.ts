import { once } from 'node:events';
import { createServer } from 'node:net';

import { describe, expect, it } from 'vitest';

import { trackResources } from './track-resources.ts';

describe('trackResources', () => {
  it('passes when everything was released', async () => {
    const released = trackResources();
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    server.close();

    await released();
  });

  it('waits for what is released late', async () => {
    const released = trackResources();
    setTimeout(() => undefined, 100);

    await released();
  });

  it('names what was left behind', async () => {
    const released = trackResources();
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');

    await expect(released({ timeoutMs: 60 })).rejects.toThrow(/left behind: .*1 × TCPServerWrap/);
    server.close();
  });

  it('counts timers', async () => {
    const released = trackResources();
    // More than the timers of the test runner that may have ended since.
    const timers = Array.from({ length: 10 }, () => setTimeout(() => undefined, 60_000));

    await expect(released({ timeoutMs: 60 })).rejects.toThrow(/\d × Timeout/);
    for (const timer of timers) clearTimeout(timer);
  });
});
