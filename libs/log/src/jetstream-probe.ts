import { connect } from 'node:net';

const DEFAULT_PORT = 4222;
const GREETING = 'INFO ';

/**
 * Resolves when `server` greets as a NATS server does. nats-core 3.4.0 does not close the socket of an attempt that timed out
 * before the greeting (a paused server, a cut network): it is only let near a server that has just greeted.
 */
export function probe(server: string, { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal: AbortSignal }): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new Error('aborted'));
    const socket = connect(addressOf(server));
    let greeting = '';
    let failure = new Error('the server closed the connection');
    const fail = (reason: string) => {
      failure = new Error(reason);
      socket.destroy();
    };
    const timer = setTimeout(() => fail(`no greeting within ${timeoutMs} ms`), timeoutMs);
    const onAbort = () => fail('aborted');
    signal.addEventListener('abort', onAbort, { once: true });
    socket.on('data', (chunk: Buffer) => {
      greeting += chunk.toString('latin1');
      if (greeting.length < GREETING.length) return;
      if (greeting.startsWith(GREETING)) resolve();
      else failure = new Error('what answers there is not a NATS server');
      socket.destroy();
    });
    socket.on('error', (error) => {
      failure = error;
    });
    socket.on('close', () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      reject(failure);
    });
  });
}

function addressOf(server: string): { readonly host: string; readonly port: number } {
  const url = new URL(server.includes('://') ? server : `nats://${server}`);
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port === '' ? DEFAULT_PORT : Number(url.port) };
}
