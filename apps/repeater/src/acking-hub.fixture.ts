import { formatControl, parseFrame, type ErrorCode } from '@carillon/wire';

import { startStubHub, type StubHub } from './hub-stub.fixture.ts';
import type { Peer, Ws } from './site.fixture.ts';

// A hub of the second protocol as a repeater sees it: it answers each event, and knows an event that comes again by its id.

export interface StubEvent {
  readonly id: string;
  readonly room: string;
  readonly body: string;
  readonly at: number | undefined;
  readonly et: number | undefined;
}

/** What becomes of an event: stored and acked, left without an answer, refused with a code, or the connection closed with a number and a reason. */
export type Answer = 'ack' | 'hold' | { readonly refuse: string } | { readonly close: number; readonly reason: ErrorCode };

/** What outlives a hub: its log. */
export class StubLog {
  /** Events that were stored, each once, in order. */
  readonly events: StubEvent[] = [];
  /** How often each id came. */
  readonly times = new Map<string, number>();

  bodies(room?: string): string[] {
    return this.events.filter((event) => room === undefined || event.room === room).map(({ body }) => body);
  }
}

export interface AckingHubOptions {
  readonly port?: number;
  readonly log?: StubLog;
  readonly answer?: (event: StubEvent) => Answer;
}

export interface AckingHub extends StubHub {
  readonly log: StubLog;
  /** Answers differently from now on; events that were held are answered anew. */
  answer(rule: (event: StubEvent) => Answer): void;
}

export async function startAckingHub(ws: Pick<Ws, 'WebSocketServer'>, { port = 0, log = new StubLog(), answer = () => 'ack' }: AckingHubOptions = {}): Promise<AckingHub> {
  let rule = answer;
  const held: (() => void)[] = [];
  const hub = await startStubHub(ws, { port, version: 2, joined: (peer) => answerTo(peer) });

  function answerTo(peer: Peer): void {
    const acked: [string, number][] = [];
    const flush = (): void => peer.socket.send(formatControl({ op: 'published', class: 'stored', events: acked.splice(0) }));
    const store = (event: StubEvent): void => {
      if (!log.events.some(({ id }) => id === event.id)) log.events.push(event);
      acked.push([event.id, log.events.length]);
      if (acked.length === 1) setImmediate(flush);
    };
    const judge = (event: StubEvent): void => {
      const said = rule(event);
      if (said === 'ack') store(event);
      else if (said === 'hold') held.push(() => judge(event));
      else if ('refuse' in said) peer.socket.send(JSON.stringify({ op: 'error', code: said.refuse, request: event.id }));
      else peer.socket.close(said.close, said.reason);
    };
    peer.socket.on('message', (bytes, isBinary) => {
      const parsed = isBinary && peer.socket.readyState === 1 ? parseFrame(bytes as Buffer, 2) : undefined;
      if (parsed?.ok !== true || parsed.fields.id === undefined) return;
      const { id, at, et } = parsed.fields;
      log.times.set(id, (log.times.get(id) ?? 0) + 1);
      judge({ id, room: parsed.room, body: Buffer.from(parsed.body).toString(), at, et });
    });
  }

  return {
    ...hub, log,
    answer: (next) => {
      rule = next;
      for (const again of held.splice(0)) again();
    },
  };
}
