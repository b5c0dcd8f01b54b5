import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { describe, expect, it } from 'vitest';

import { freePort } from './free-port.ts';

const BINDS = 'const socket = require("node:dgram").createSocket("udp4"); socket.on("error", ({ code }) => { console.log(code); process.exit(); }); socket.bind({ port: Number(process.argv[1]), address: "127.0.0.1", exclusive: true }, () => { console.log("bound"); process.exit(); });';

describe('freePort', () => {
  it('never gives the same port twice', async () => {
    const ports = await Promise.all(Array.from({ length: 200 }, () => freePort()));

    expect(new Set(ports).size).toBe(200);
  });

  it('gives a port that can be listened on', async () => {
    const server = createServer().listen(await freePort(), '127.0.0.1');
    await once(server, 'listening');
    server.close();
    await once(server, 'close');
  });

  it('keeps a port from other processes while nothing listens there', async () => {
    const port = await freePort();
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', BINDS, String(port)]);

    expect(stdout.trim()).toBe('EADDRINUSE');
  });

  it('lets go of its ports when its process ends', async () => {
    const source = JSON.stringify(fileURLToPath(new URL('free-port.ts', import.meta.url)));
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', `const { freePort } = await import(${source}); console.log(await freePort());`]);
    const left = Number(stdout);

    const socket = createSocket('udp4').bind({ port: left, address: '127.0.0.1', exclusive: true });
    await once(socket, 'listening');
    socket.close();
  });
});
