import { createServer, type Server, type ServerResponse } from 'node:http';

import { afterEach, describe, expect, it } from 'vitest';

import { formatAddress, listen, sendProblem } from './index.ts';

describe('sendProblem', () => {
  let server: Server;

  afterEach(() => new Promise((resolve) => server.close(resolve)));

  async function request(answer: (response: ServerResponse) => void): Promise<Response> {
    server = createServer((_, response) => answer(response));
    const address = await listen(server, { host: '127.0.0.1', port: 0 });
    return fetch(`http://${formatAddress(address)}/`, { headers: { connection: 'close' } });
  }

  it('answers as RFC 9457 has it, with the code in the type', async () => {
    const errors = [{ pointer: '/room', detail: 'must not be empty' }];
    const response = await request((res) => {
      res.setHeader('retry-after', '3');
      sendProblem(res, { code: 'ROOM_NAME_INVALID', title: 'Not a room name', status: 422, detail: 'It is empty.', instance: 'urn:x:1', errors });
    });
    expect(response.status).toBe(422);
    expect(response.headers.get('content-type')).toBe('application/problem+json');
    expect(response.headers.get('retry-after')).toBe('3');
    expect(await response.json()).toEqual({
      type: 'urn:carillon:error:ROOM_NAME_INVALID', title: 'Not a room name', status: 422, detail: 'It is empty.', instance: 'urn:x:1', code: 'ROOM_NAME_INVALID', errors,
    });
  });

  it('leaves out what it was not given', async () => {
    const response = await request((res) => sendProblem(res, { code: 'ROUTE_NOT_FOUND', title: 'No such path', status: 404 }));
    expect(await response.json()).toEqual({ type: 'urn:carillon:error:ROUTE_NOT_FOUND', title: 'No such path', status: 404, code: 'ROUTE_NOT_FOUND' });
  });

  it('cuts the connection when an answer has already begun', async () => {
    const response = await request((res) => {
      res.writeHead(200, { 'content-length': 100 });
      res.write('half', () => sendProblem(res, { code: 'INTERNAL', title: 'Failed', status: 500 }));
    });
    await expect(response.text()).rejects.toThrow();
  });
});
