import { once } from 'node:events';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

import { afterEach, describe, expect, it } from 'vitest';

import { BodyReader, type RequestBody } from './body-reader.ts';

const servers: { close(): void }[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** Answers every request with what was read, as JSON. */
async function serve(bodies: BodyReader): Promise<string> {
  const server = createServer((request: IncomingMessage, response) => {
    void bodies.read(request).then((body: RequestBody) => response.end(JSON.stringify(body.ok ? { text: body.bytes.toString() } : { why: body.why })));
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
});
