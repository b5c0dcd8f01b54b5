import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';

/**
 * A WebSocket peer that costs next to nothing, so that the server is what a run measures: one handshake, prebuilt
 * masked frames out, and a frame reader that looks at headers and calls back with the payload's place.
 */
export type OnFrame = (chunk: Buffer, start: number, end: number) => void;

export interface RawPeerOptions {
  readonly port: number;
  readonly path: string;
  /** Local address to come from. */
  readonly from?: string;
  /** Called for every binary frame; absent: frames are only counted. */
  readonly onFrame?: OnFrame;
  /** Called for every text frame. */
  readonly onText?: (text: string) => void;
  /** The subprotocol to ask for. */
  readonly protocol?: string;
  readonly onClose?: (code: number | undefined) => void;
}

const TEXT = 0x81;
const BINARY = 0x82;
const CLOSE = 0x88;
const PING = 0x89;
const PONG = 0x8a;

export class RawPeer {
  frames = 0;
  closeCode: number | undefined = undefined;
  readonly #socket: Socket;
  readonly #options: RawPeerOptions;
  #rest: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket, options: RawPeerOptions) {
    this.#socket = socket;
    this.#options = options;
  }

  static async connect(options: RawPeerOptions): Promise<RawPeer> {
    const socket = connect({ port: options.port, host: '127.0.0.1', noDelay: true, ...(options.from === undefined ? {} : { localAddress: options.from }) });
    const peer = new RawPeer(socket, options);
    await new Promise<void>((resolve, reject) => {
      socket.once('error', reject);
      socket.once('connect', () => {
        socket.write(
          `GET ${options.path} HTTP/1.1\r\nHost: 127.0.0.1:${options.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
            `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\nSec-WebSocket-Version: 13\r\n${options.protocol === undefined ? '' : `Sec-WebSocket-Protocol: ${options.protocol}\r\n`}\r\n`,
        );
      });
      let head = Buffer.alloc(0);
      const onHead = (chunk: Buffer): void => {
        head = Buffer.concat([head, chunk]);
        const end = head.indexOf('\r\n\r\n');
        if (end === -1) return;
        socket.off('data', onHead);
        if (!head.subarray(0, 12).toString().endsWith('101')) {
          reject(new Error(`refused: ${head.subarray(0, 200).toString()}`));
          return;
        }
        socket.on('data', (piece: Buffer) => peer.#read(piece));
        peer.#read(head.subarray(end + 4));
        resolve();
      };
      socket.on('data', onHead);
    });
    socket.removeAllListeners('error');
    socket.on('error', () => undefined);
    socket.on('close', () => options.onClose?.(peer.closeCode));
    return peer;
  }

  send(frames: Buffer): void {
    this.#socket.write(frames);
  }

  subscribe(rooms: readonly string[]): void {
    this.say({ rooms, create: true });
  }

  say(frame: object): void {
    this.send(maskedFrame(TEXT, Buffer.from(JSON.stringify(frame))));
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #read(piece: Buffer): void {
    const chunk = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece]);
    let at = 0;
    while (at + 2 <= chunk.length) {
      const opcode = chunk[at] as number;
      let length = (chunk[at + 1] as number) & 0x7f;
      let start = at + 2;
      if (length === 126) {
        if (start + 2 > chunk.length) break;
        length = chunk.readUInt16BE(start);
        start += 2;
      } else if (length === 127) {
        if (start + 8 > chunk.length) break;
        length = Number(chunk.readBigUInt64BE(start));
        start += 8;
      }
      const end = start + length;
      if (end > chunk.length) break;
      if (opcode === BINARY) {
        this.frames += 1;
        this.#options.onFrame?.(chunk, start, end);
      } else if (opcode === TEXT) {
        this.#options.onText?.(chunk.toString('utf8', start, end));
      } else if (opcode === PING) {
        this.send(maskedFrame(PONG, chunk.subarray(start, end)));
      } else if (opcode === CLOSE) {
        this.closeCode = length >= 2 ? chunk.readUInt16BE(start) : 1005;
        this.#socket.end();
      }
      at = end;
    }
    this.#rest = at === chunk.length ? EMPTY : chunk.subarray(at);
  }
}

const EMPTY: Buffer = Buffer.alloc(0);

/** A final client frame with a random mask. */
export function maskedFrame(opcode: number, payload: Buffer): Buffer {
  const header = payload.length < 126 ? 2 : payload.length < 65_536 ? 4 : 10;
  const frame = Buffer.allocUnsafe(header + 4 + payload.length);
  frame[0] = opcode;
  if (header === 2) frame[1] = 0x80 | payload.length;
  else if (header === 4) {
    frame[1] = 0x80 | 126;
    frame.writeUInt16BE(payload.length, 2);
  } else {
    frame[1] = 0x80 | 127;
    frame.writeBigUInt64BE(BigInt(payload.length), 2);
  }
  const mask = randomBytes(4);
  mask.copy(frame, header);
  for (let at = 0; at < payload.length; at += 1) frame[header + 4 + at] = (payload[at] as number) ^ (mask[at & 3] as number);
  return frame;
}

export function binaryFrame(payload: Buffer): Buffer {
  return maskedFrame(BINARY, payload);
}
