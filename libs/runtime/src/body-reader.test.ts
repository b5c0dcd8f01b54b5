import { once } from 'node:events';
import { createServer, request, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

import { afterEach, describe, expect, it, vi } from 'vitest';

import { BodyReader, type RequestBody } from './body-reader.ts';

const servers: { close(): void }[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** Answers every request with what was read, as JSON. */
async function serve(bodies: BodyReader): Promise<string> {
  const server = createServer((incoming: IncomingMessage, response) => {
    void bodies.read(incoming, incoming.headers['x-holder']?.toString()).then((body: RequestBody) => response.end(JSON.stringify(body.ok ? { text: body.bytes.toString() } : { why: body.why })));
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

const post = async (url: string, body: string): Promise<unknown> => (await fetch(url, { method: 'POST', body, headers: { connection: 'close' } })).json();

describe('a request body', () => {
  it('is read whole up to its bound, and refused with an answer beyond it', async () => {
    const url = await serve(new BodyReader({ maxBytes: 10, totalMaxBytes: 100 }));
    expect(await post(url, '')).toEqual({ text: '' });
    expect(await post(url, '0123456789')).toEqual({ text: '0123456789' });
    expect(await post(url, '0123456789x')).toEqual({ why: 'too-large' });
    expect(await post(url, 'x'.repeat(3_000_000))).toEqual({ why: 'too-large' });
  });

  it('is refused when those that are arriving hold too much together, and taken again after', async () => {
    const url = await serve(new BodyReader({ maxBytes: 100, totalMaxBytes: 50 }));
    expect(await post(url, 'x'.repeat(60))).toEqual({ why: 'too-many' });
    expect(await post(url, 'x'.repeat(50))).toEqual({ text: 'x'.repeat(50) });
  });

  it('is refused to a holder whose bodies hold half of that, and to no other', async () => {
    const url = await serve(new BodyReader({ maxBytes: 40, totalMaxBytes: 100 }));
    const slow = [0, 1].map(() => {
      const outgoing = request(url, { method: 'POST', headers: { 'x-holder': 'a', 'content-length': 40 } });
      outgoing.on('error', () => undefined);
      outgoing.write('x'.repeat(24));
      return outgoing;
    });
    const by = async (holder: string, bytes: number): Promise<unknown> => (await fetch(url, { method: 'POST', body: 'x'.repeat(bytes), headers: { 'connection': 'close', 'x-holder': holder } })).json();
    await vi.waitFor(async () => expect(await by('a', 3)).toEqual({ why: 'too-many' }));
    expect(await by('b', 40)).toEqual({ text: 'x'.repeat(40) });
    for (const outgoing of slow) outgoing.destroy();
    await vi.waitFor(async () => expect(await by('a', 40)).toEqual({ text: 'x'.repeat(40) }));
  });
});
