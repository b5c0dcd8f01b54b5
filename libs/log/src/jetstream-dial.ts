import { readFile } from 'node:fs/promises';

import { connect, credsAuthenticator, type NatsConnection } from '@nats-io/transport-node';

import { probe } from './jetstream-probe.ts';

const GREETING_TIMEOUT_MS = 2_000;
const HANDSHAKE_TIMEOUT_MS = 5_000;

export interface JetStreamCredentials {
  readonly user?: string;
  readonly pass?: string;
  readonly token?: string;
  /** Path of a `.creds` file; read at each connection, so that it may be replaced. */
  readonly credsFile?: string;
}

export interface JetStreamDialOptions {
  readonly name: string;
  readonly credentials: JetStreamCredentials;
  readonly signal: AbortSignal;
}

/** Tries each server once, in the order given, and gives the first connection; throws the last failure. */
export async function dial(servers: readonly string[], options: JetStreamDialOptions): Promise<NatsConnection> {
  let failure: unknown = new Error('no server is named');
  for (const server of servers) {
    try {
      await probe(server, { timeoutMs: GREETING_TIMEOUT_MS, signal: options.signal });
      return await handshake(server, options);
    } catch (error) {
      failure = error;
      if (options.signal.aborted) break;
    }
  }
  throw failure;
}

async function handshake(server: string, { name, credentials }: JetStreamDialOptions): Promise<NatsConnection> {
  const { user, pass, token, credsFile } = credentials;
  return connect({
    servers: [server],
    name,
    // One connection, one link: nats-core's own reconnecting would send later what was given up meanwhile.
    reconnect: false,
    timeout: HANDSHAKE_TIMEOUT_MS,
    noAsyncTraces: true,
    ...(user === undefined ? {} : { user }),
    ...(pass === undefined ? {} : { pass }),
    ...(token === undefined ? {} : { token }),
    ...(credsFile === undefined ? {} : { authenticator: credsAuthenticator(await readFile(credsFile)) }),
  });
}
