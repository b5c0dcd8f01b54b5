import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';

import { eventually, freePort } from '@carillon/testing';
import { describe, expect, it } from 'vitest';

import type { BusLogLine } from './bus.ts';
import { connectNats } from './nats-bus.ts';
import { missingFrom } from './nats-version.ts';

describe('missingFrom', () => {
  it.each(['2.10.0', '2.10.27', '2.15.1', '3.0.0', 'v2.12.0-preview.1'])('takes %s', (version) => {
    expect(missingFrom(version)).toBeUndefined();
  });

  it.each(['2.9.10', '1.4.1', '2.2.0-RC.1'])('names what %s is missing', (version) => {
    expect(missingFrom(version)).toMatch(/at least 2\.10 is needed: this one refuses filter_subjects/);
  });

  it('says so when there is no version', () => {
    expect(missingFrom('')).toMatch(/does not tell its version/);
  });
});

it('warns at connect about a server that is too old', async () => {
  const sockets: Socket[] = [];
  const port = await freePort();
  const oldServer = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
    socket.write(`INFO ${JSON.stringify({ server_id: 'x', version: '2.9.10', proto: 1, max_payload: 1_048_576, headers: true })}\r\n`);
    socket.on('data', (chunk: Buffer) => {
      if (chunk.includes('PING')) socket.write('PONG\r\n');
    });
  }).listen(port, '127.0.0.1');
  await once(oldServer, 'listening');
  const lines: BusLogLine[] = [];
  const bus = connectNats({ servers: [`127.0.0.1:${port}`], name: 'test', log: (line) => lines.push(line) });

  await eventually(() => bus.state === 'connected');
  expect(lines.filter(({ level }) => level === 'warn').map(({ text }) => text)).toEqual([expect.stringContaining('2.9.10, at least 2.10 is needed')]);
  await bus.close();
  for (const socket of sockets) socket.destroy();
  oldServer.close();
});
