import type { Transport, TransportEvents, TransportOptions, TransportSocket } from './transport.ts';

/**
 * The WebSocket of browsers (and of every runtime that resolves the `browser` condition). It cannot send headers, does
 * not show pings, and says of a connection that failed no more than that it did.
 */
export const transport: Transport = { seesPings: false, sendsHeaders: false, tellsIgnoredOffers: false, open };

/** The host of the page. */
export function systemName(): string {
  const { location } = globalThis as { readonly location?: { readonly hostname: string } };
  return location === undefined || location.hostname === '' ? 'browser' : location.hostname;
}

function open(url: string, options: TransportOptions, events: TransportEvents): TransportSocket {
  const socket = new WebSocket(url, [...options.protocols]);
  socket.binaryType = 'arraybuffer';
  socket.addEventListener('open', () => events.onOpen(socket.protocol));
  // It says nothing that the close after it does not; other runtimes throw an error that nobody hears.
  socket.addEventListener('error', () => undefined);
  socket.addEventListener('message', (event: MessageEvent<ArrayBuffer | string>) => {
    if (typeof event.data === 'string') events.onText(event.data);
    else events.onBinary(new Uint8Array(event.data));
  });
  socket.addEventListener('close', (event) => events.onClosed({ closeCode: event.code, reason: event.reason }));
  return {
    get isOpen() {
      return socket.readyState === WebSocket.OPEN;
    },
    get bufferedBytes() {
      return socket.bufferedAmount;
    },
    send: (frame) => socket.send(frame as Uint8Array<ArrayBuffer> | string),
    close: () => socket.close(1000),
    // A page cannot cut a connection; the browser ends the handshake by its own clock.
    terminate: () => socket.close(1000),
  };
}
