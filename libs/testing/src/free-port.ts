import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

// Below the range that Linux (32768) and macOS (49152) take the ports of outgoing connections from. A port of that range could be
// taken by any dial while its server restarts, and a client that redials a dead one can even connect to itself.
const LOWEST_PORT = 10_240;
const PORT_COUNT = 32_768 - LOWEST_PORT;
const TRIES = 200;

/**
 * A TCP port that nothing listens on at loopback now. It is given to nobody else, in this process or in another that asks here, until
 * this process ends: whatever is killed can be started again on it, however long it was away. The UDP socket of the same number is
 * the claim, which ends with its process, however that ends.
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < TRIES; tries += 1) {
    const port = LOWEST_PORT + Math.floor(Math.random() * PORT_COUNT);
    if ((await claim(port)) && (await canListen(port))) return port;
  }
  throw new Error(`No TCP port from ${LOWEST_PORT} to ${LOWEST_PORT + PORT_COUNT - 1} is free on loopback: ${TRIES} were tried.`);
}

/** Claims the port for as long as this process lives; false: somebody else has it. */
function claim(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4').unref();
    socket.once('error', () => {
      socket.close();
      resolve(false);
    });
    socket.bind({ port, address: '127.0.0.1', exclusive: true }, () => resolve(true));
  });
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  });
}
