import type { Server } from 'node:http';

import { formatAddress, type ListenAddress } from './listen-address.ts';

/** Why a server could not listen. */
export type ListenErrorCode = 'LISTEN_ADDRESS_IN_USE' | 'LISTEN_FORBIDDEN' | 'LISTEN_ADDRESS_UNAVAILABLE' | 'LISTEN_FAILED';

/** Connections the kernel may hold for us while a whole fleet reconnects; it caps this by itself (Linux: somaxconn, 4096). */
const BACKLOG = 4_096;

/** A server that could not listen: a stable code, a sentence an operator can act on, and the system's error as `cause`. */
export class ListenError extends Error {
  override readonly name = 'ListenError';
  readonly code: ListenErrorCode;
  readonly address: ListenAddress;

  constructor(address: ListenAddress, cause: NodeJS.ErrnoException) {
    const { code, reason } = explain(cause);
    super(`Cannot listen on ${formatAddress(address)}: ${reason}`, { cause });
    this.code = code;
    this.address = address;
  }
}

/**
 * Listens, and gives the address really taken (the port chosen by the system when 0 was asked).
 * Rejects with `ListenError`; the server stays usable for another try.
 */
export function listen(server: Server, address: ListenAddress): Promise<ListenAddress> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException) => {
      server.off('listening', onListening);
      reject(new ListenError(address, error));
    };
    const onListening = () => {
      server.off('error', onError);
      const taken = server.address();
      resolve(taken === null || typeof taken === 'string' ? address : { host: taken.address, port: taken.port });
    };
    server.once('error', onError);
    server.once('listening', onListening);
    server.listen({ host: address.host, port: address.port, backlog: BACKLOG });
  });
}

function explain(error: NodeJS.ErrnoException): { readonly code: ListenErrorCode; readonly reason: string } {
  switch (error.code) {
    case 'EADDRINUSE':
      return { code: 'LISTEN_ADDRESS_IN_USE', reason: 'another process already listens there. Stop it, or choose another address.' };
    case 'EACCES':
      return { code: 'LISTEN_FORBIDDEN', reason: 'the system does not allow it (ports below 1024 need a privilege). Choose a higher port.' };
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return { code: 'LISTEN_ADDRESS_UNAVAILABLE', reason: 'this machine has no such address. Use one of its own, 127.0.0.1 or 0.0.0.0.' };
    default:
      return { code: 'LISTEN_FAILED', reason: `${error.message}.` };
  }
}
