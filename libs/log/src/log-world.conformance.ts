import type { EventLog, LogEvent, StoredEvent } from './event-log.ts';

/** What the suite needs of a body of the log. */
export interface LogWorld {
  /** Opens a new log without events, with the bounds of CONFORMANCE_LIMITS; resolves when it is open. */
  fresh(): Promise<EventLog>;
  /** Closes this handle and opens the same log again, as another process would. */
  reopen(log: EventLog): Promise<EventLog>;
}

/** What a world's logs are set up with. */
export const CONFORMANCE_LIMITS = { eventMaxBytes: 256 * 1024, waitingMaxBytes: 4 * 1024 * 1024 } as const;

export const WORKSPACE = 'ws-1';

let count = 0;

/** An id that no other event of this process has. */
export const nextId = (): string => `id-${(count += 1)}`;

export const bytes = (text: string): Uint8Array => Buffer.from(text, 'utf8');
export const text = (event: { readonly body: Uint8Array }): string => Buffer.from(event.body).toString('utf8');
export const texts = (events: readonly { readonly body: Uint8Array }[]): string[] => events.map(text);

/** An event of WORKSPACE; what a test says takes the place of what it does not care for. */
export function anEvent(given: Partial<LogEvent> & { readonly room: string }): LogEvent {
  return { workspaceId: WORKSPACE, id: nextId(), atMs: Date.now(), fields: '', body: bytes('{}'), ...given };
}

/** Appends bodies to a room, pipelined; resolves with their sequences. */
export async function appendAll(log: EventLog, room: string, bodies: readonly string[], workspaceId = WORKSPACE): Promise<number[]> {
  const appended = await Promise.all(bodies.map((body) => log.append(anEvent({ room, workspaceId, body: bytes(body) }))));
  return appended.map(({ seq }) => seq);
}

/** Reads page after page to the end. */
export async function readAll(log: EventLog, rooms: readonly string[], options: { readonly after?: number; readonly workspaceId?: string; readonly maxEvents?: number; readonly upTo?: number } = {}): Promise<StoredEvent[]> {
  const { workspaceId = WORKSPACE, maxEvents = 100, upTo } = options;
  const events: StoredEvent[] = [];
  for (let after = options.after ?? 0; ; ) {
    const page = await log.read({ workspaceId, rooms, after, upTo, maxEvents, maxBytes: 1024 * 1024 });
    events.push(...page.events);
    if (page.isLast) return events;
    after = page.next;
  }
}

export const numbered = (length: number, prefix = ''): string[] => Array.from({ length }, (_, index) => `${prefix}${index}`);
