import { createServer, type Server } from 'node:http';

import { afterEach, describe, expect, it } from 'vitest';

import { listen, ListenError } from './index.ts';

describe('listen', () => {
  const servers: Server[] = [];
  const server = () => {
    const made = createServer();
    servers.push(made);
    return made;
  };

  afterEach(async () => {
    await Promise.all(servers.splice(0).map((made) => new Promise((resolve) => made.close(resolve))));
  });

  it('gives the port that the system chose', async () => {
    const address = await listen(server(), { host: '127.0.0.1', port: 0 });
    expect(address.host).toBe('127.0.0.1');
    expect(address.port).toBeGreaterThan(0);
  });

  it('refuses a port in use with a code and a sentence, and leaves the server usable', async () => {
    const taken = await listen(server(), { host: '127.0.0.1', port: 0 });
    const second = server();
    const refused = listen(second, taken);
    await expect(refused).rejects.toMatchObject({ name: 'ListenError', code: 'LISTEN_ADDRESS_IN_USE', address: taken, cause: { code: 'EADDRINUSE' } });
    await expect(refused).rejects.toThrow(`Cannot listen on 127.0.0.1:${taken.port}: another process already listens there.`);
    await expect(listen(second, { host: '127.0.0.1', port: 0 })).resolves.toMatchObject({ host: '127.0.0.1' });
  });

  it('refuses an address that is not this machine\'s', async () => {
    // 203.0.113.0/24 is kept for documentation (RFC 5737): no machine has it.
    await expect(listen(server(), { host: '203.0.113.1', port: 0 })).rejects.toMatchObject({ code: 'LISTEN_ADDRESS_UNAVAILABLE' });
  });

  it('explains a missing privilege and passes on what it does not know', () => {
    const address = { host: '::1', port: 80 };
    const forbidden = new ListenError(address, Object.assign(new Error('denied'), { code: 'EACCES' }));
    expect(forbidden.code).toBe('LISTEN_FORBIDDEN');
    expect(forbidden.message).toMatch(/^Cannot listen on \[::1\]:80: the system does not allow it/);
    const other = new ListenError(address, Object.assign(new Error('too many open files'), { code: 'EMFILE' }));
    expect(other.code).toBe('LISTEN_FAILED');
    expect(other.message).toContain('too many open files');
  });
});
