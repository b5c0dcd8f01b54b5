import { createServer } from 'node:net';

// Below the range that Linux (32768) and macOS (49152) take the ports of outgoing connections from. A port of that range could be
// taken by any dial while its server restarts, and a client that redials a dead one can even connect to itself.
const LOWEST_PORT = 10_240;
const PORT_COUNT = 32_768 - LOWEST_PORT;
const RANDOM_TRIES = 50;

const handedOut = new Set<number>();

/** A TCP port that nothing listens on at loopback now; the same is not given twice in this process. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < RANDOM_TRIES; tries += 1) {
    const port = LOWEST_PORT + Math.floor(Math.random() * PORT_COUNT);
    if (handedOut.has(port)) continue;
    handedOut.add(port);
    if ((await listenOnce(port)) !== undefined) return port;
  }
  for (;;) {
    const port = await listenOnce(0);
    if (port === undefined) throw new Error('No TCP port is free on loopback.');
    if (handedOut.has(port)) continue;
    handedOut.add(port);
    return port;
  }
}

function listenOnce(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(undefined));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      const address = server.address();
      server.close(() => resolve(address !== null && typeof address === 'object' ? address.port : undefined));
    });
  });
}
