import { once } from 'node:events';
import { createServer, request, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

import { BodyReader } from '@carillon/runtime';
import { describe, expect, it } from 'vitest';

import { readJson } from './body.ts';
import { Refusal } from './refusal.ts';

/** Posts to a server that reads one body, and gives what became of it. */
async function readOne(bodies: BodyReader, send: (post: ReturnType<typeof request>) => void): Promise<string> {
  let outcome: Promise<string> | undefined;
  const server = createServer((req: IncomingMessage, res) => {
    outcome = readJson(req, bodies).then(({ value }) => JSON.stringify(value), (error: unknown) => (error instanceof Refusal ? error.code : String(error)));
    void outcome.then(() => res.end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const post = request({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', method: 'POST', agent: false, headers: { 'content-type': 'application/json' } });
  const ended = once(post, 'close');
  post.on('error', () => undefined);
  post.on('response', (res) => void res.resume());
  send(post);
  await ended;
  await new Promise((resolve) => server.close(resolve));
  return outcome ?? 'nothing';
}

describe('a body of JSON', () => {
  const bodies = new BodyReader({ maxBytes: 100, totalMaxBytes: 20 });

  it('is read, in one piece or many', async () => {
    expect(await readOne(bodies, (post) => post.end('{"a":1}'))).toBe('{"a":1}');
    expect(await readOne(bodies, (post) => {
      post.write('{"a"');
      post.end(':1}');
    })).toBe('{"a":1}');
  });

  it('that would be more than all together may be is OVERLOADED', async () => {
    expect(await readOne(bodies, (post) => post.end(`"${'x'.repeat(40)}"`))).toBe('OVERLOADED');
  });

  it('larger than one may be is BODY_TOO_LARGE, whatever it says of itself', async () => {
    expect(await readOne(bodies, (post) => post.end(`"${'x'.repeat(200)}"`))).toBe('BODY_TOO_LARGE');
    expect(await readOne(bodies, (post) => {
      post.setHeader('transfer-encoding', 'chunked');
      post.end(`"${'x'.repeat(200)}"`);
    })).toBe('BODY_TOO_LARGE');
  });

  it('that breaks off is REQUEST_MALFORMED', async () => {
    expect(await readOne(bodies, (post) => {
      post.setHeader('content-length', '50');
      post.write('{"a"');
      post.on('socket', (socket) => socket.once('connect', () => setImmediate(() => socket.end())));
    })).toBe('REQUEST_MALFORMED');
  });
});
