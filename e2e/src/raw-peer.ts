import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** A peer below any WebSocket library: it says exactly what it is told to, and may be as slow or as wrong as it likes. */
export interface Handshake {
  readonly socket: Socket;
  /** The status of the answer, e.g. 101 or 503. */
  readonly status: number;
  /** The whole head and what came with it, for refusals. */
  readonly answer: string;
}

const TEXT = 0x81;

/** The request that turns a connection into a WebSocket. */
export function upgradeRequest(port: number, path: string): string {
  return (
    `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
    `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\nSec-WebSocket-Version: 13\r\n\r\n`
  );
}

/** Opens a TCP connection to a port of loopback; later errors of it are ignored. */
export async function openSocket(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  socket.on('error', () => undefined);
  return socket;
}

/** Asks for a WebSocket; rejects when the connection ends before the head of the answer. */
export async function handshake(port: number, path: string): Promise<Handshake> {
  const socket = await openSocket(port);
  socket.write(upgradeRequest(port, path));
  const answer = await new Promise<string>((resolve, reject) => {
    let head = '';
    const onData = (piece: Buffer): void => {
      head += piece.toString('latin1');
      if (!head.includes('\r\n\r\n')) return;
      socket.off('data', onData);
      socket.off('close', onClose);
      resolve(head);
    };
    const onClose = (): void => reject(new Error(`closed before the answer: ${JSON.stringify(head)}`));
    socket.on('data', onData);
    socket.on('close', onClose);
  });
  return { socket, status: Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0), answer };
}

/** A subscription change as a final, masked text frame; up to 125 bytes. */
export function subscribeFrame(rooms: readonly string[]): Buffer {
  const payload = Buffer.from(JSON.stringify({ rooms, create: true }));
  if (payload.length > 125) throw new RangeError('too many rooms for a short frame');
  const mask = randomBytes(4);
  const masked = payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0));
  return Buffer.concat([Buffer.from([TEXT, 0x80 | payload.length]), mask, masked]);
}
