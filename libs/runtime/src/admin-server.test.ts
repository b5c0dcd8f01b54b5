import { once } from 'node:events';
import type { Server } from 'node:http';
import { connect, type Socket } from 'node:net';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { createAdminServer } from './admin-server.ts';
import { Health, listen, Metrics, type ListenAddress } from './index.ts';

describe('the admin server', () => {
  let server: Server;
  let address: ListenAddress;
  let ready: boolean;

  beforeEach(async () => {
    ready = true;
    const health = new Health();
    health.addCheck('bus', () => (ready ? { ok: true } : { ok: false, reason: 'NATS is away' }));
    server = createAdminServer({ health, metrics: new Metrics(() => undefined) });
    address = await listen(server, { host: '127.0.0.1', port: 0 });
  });

  afterEach(async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  });

  const request = (path: string, method = 'GET') => fetch(`http://127.0.0.1:${address.port}${path}`, { method });

  it('is live also when it is not ready', async () => {
    ready = false;
    const response = await request('/livez');
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({ status: 'live' });
  });

  it('answers 200 when ready and 503 when not, with what each check said', async () => {
    const good = await request('/readyz?verbose');
    expect(good.status).toBe(200);
    expect(good.headers.get('content-type')).toBe('application/json');
    expect(await good.json()).toEqual({ status: 'ready', checks: { bus: { ok: true } } });
    ready = false;
    const bad = await request('/readyz');
    expect(bad.status).toBe(503);
    expect(await bad.json()).toEqual({ status: 'not ready', checks: { bus: { ok: false, reason: 'NATS is away' } } });
  });

  it('shows the metrics as Prometheus reads them', async () => {
    const response = await request('/metrics');
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(await response.text()).toContain('carillon_admin_connections_refused_total 0');
  });

  it('answers HEAD without a body', async () => {
    const response = await request('/readyz', 'HEAD');
    expect(response.status).toBe(200);
    expect(Number(response.headers.get('content-length'))).toBeGreaterThan(0);
    expect(await response.text()).toBe('');
  });

  it.each(['/', '/metrics/', '/livez/x'])('refuses the unknown path %s', async (path) => {
    const response = await request(path);
    expect(response.status).toBe(404);
    expect(response.headers.get('content-type')).toBe('application/problem+json');
    expect(await response.json()).toMatchObject({ type: 'urn:carillon:error:ROUTE_NOT_FOUND', code: 'ROUTE_NOT_FOUND' });
  });

  it.each(['POST', 'PUT', 'DELETE', 'OPTIONS'])('refuses %s and names what is allowed', async (method) => {
    const response = await request('/livez', method);
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('GET, HEAD');
    expect(await response.json()).toMatchObject({ code: 'METHOD_NOT_ALLOWED' });
  });

  it('cuts the 65th connection and counts it', async () => {
    const open = async (): Promise<Socket> => {
      const socket = connect(address.port, address.host);
      await once(socket, 'connect');
      return socket;
    };
    const sockets: Socket[] = [];
    for (let count = 0; count < 64; count += 1) sockets.push(await open());
    const extra = await open();
    await once(extra.resume(), 'close');
    const [scraper] = sockets;
    scraper?.write('GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    let text = '';
    for await (const chunk of scraper ?? []) text += String(chunk);
    expect(text).toContain('carillon_admin_connections_refused_total 1');
    for (const socket of sockets) socket.destroy();
  });

  it('bounds the time a request may take to arrive', () => {
    expect(server.headersTimeout).toBe(5_000);
    expect(server.requestTimeout).toBe(10_000);
  });
});
