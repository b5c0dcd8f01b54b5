import { setTimeout as sleep } from 'node:timers/promises';

import { backoffMs, parseCloseReason, type BackoffOptions } from '@carillon/wire';

import type { Connection, ConnectionClose, ConnectionHandler } from './connection.ts';
import type { Dialled } from './dial.ts';

/**
 * Keeps one connection to a peer, for ever:
 *
 *   dialling ──ok──▶ up ──closed──▶ waiting ──backoff──▶ dialling
 *        └──failed────────────────────▲
 *
 * The wait has full jitter; a peer's "come back" hint is its floor; the count of tries starts over only after a
 * connection that lasted `stableMs`, so that a peer that accepts and drops is not hammered.
 */
export interface KeepConnectedOptions {
  readonly dial: (handler: ConnectionHandler, signal: AbortSignal) => Promise<Dialled>;
  readonly handler: ConnectionHandler;
  readonly backoff: BackoffOptions;
  readonly stableMs: number;
  readonly signal: AbortSignal;
  /** Called when the connection is up, before its first frame. */
  readonly up: (dialled: Extract<Dialled, { ok: true }>) => void;
  /** Called for each try that failed and each connection that ended. */
  readonly down: (ended: ConnectionEnded, nextTryMs: number) => void;
}

export interface ConnectionEnded {
  /** One line for logs and status. */
  readonly reason: string;
  /** Catalogue code in the peer's refusal or close reason, if it gave one. */
  readonly code: string | undefined;
}

/** A peer may ask for this much patience and no more. */
const HINT_MAX_MS = 300_000;

/** Runs until the signal aborts; then closes what is open with 1001. */
export async function keepConnected(options: KeepConnectedOptions): Promise<void> {
  const { signal } = options;
  let attempt = 0;
  while (!signal.aborted) {
    let resolveEnded: (close: ConnectionClose) => void;
    const ended = new Promise<ConnectionClose>((resolve) => (resolveEnded = resolve));
    const handler: ConnectionHandler = {
      frame: (connection, bytes) => options.handler.frame(connection, bytes),
      text: (connection, text) => options.handler.text(connection, text),
      closed: (connection, close) => {
        options.handler.closed(connection, close);
        resolveEnded(close);
      },
    };
    const dialled = await options.dial(handler, signal);
    let why: ConnectionEnded;
    let floorMs = 0;
    if (dialled.ok) {
      const upAtMs = performance.now();
      const close = await whileOpen(dialled, options, ended);
      if (performance.now() - upAtMs >= options.stableMs) attempt = 0;
      const said = parseCloseReason(close.reason);
      floorMs = Math.min(said.retryAfterMs ?? 0, HINT_MAX_MS);
      why = { reason: `closed with ${close.code}${close.reason === '' ? '' : ` ${close.reason}`}`, code: said.code };
    } else {
      why = { reason: dialled.reason, code: dialled.code };
    }
    if (signal.aborted) return;
    const waitMs = backoffMs(attempt, options.backoff, floorMs);
    attempt += 1;
    options.down(why, waitMs);
    await sleep(waitMs, undefined, { signal, ref: false }).catch(() => undefined);
  }
}

async function whileOpen(dialled: Extract<Dialled, { ok: true }>, options: KeepConnectedOptions, ended: Promise<ConnectionClose>): Promise<ConnectionClose> {
  const leave = (): void => goAway(dialled.connection);
  options.up(dialled);
  options.signal.addEventListener('abort', leave, { once: true });
  if (options.signal.aborted) leave();
  const close = await ended;
  options.signal.removeEventListener('abort', leave);
  return close;
}

/** RFC 6455's "going away". */
const GOING_AWAY = 1001;

function goAway(connection: Connection): void {
  connection.close(GOING_AWAY, '');
}
