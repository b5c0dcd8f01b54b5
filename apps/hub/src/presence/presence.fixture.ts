import { eventually } from '@carillon/testing';

import type { TestHub } from '../hub.fixture.ts';
import type { TestSession } from '../sessions/session.fixture.ts';

/** Who is in a room as one watcher was told it, frame by frame. */
export interface Seen {
  readonly there: Map<string, { readonly at: number; readonly data?: string }>;
  readonly left: Map<string, number>;
}

/** What the answers to a watch of a session come to. */
export function seenBy(session: TestSession, request: string): Seen {
  const seen: Seen = { there: new Map(), left: new Map() };
  for (const { request: of, isAll, joined = [], left = [] } of session.all('presence')) {
    if (of !== request) continue;
    if (isAll === true) {
      seen.there.clear();
      seen.left.clear();
    }
    for (const { name, at, data } of joined) {
      seen.there.set(name, { at, ...(data === undefined ? {} : { data }) });
      seen.left.delete(name);
    }
    for (const { name, at } of left) {
      seen.there.delete(name);
      seen.left.set(name, at);
    }
  }
  return seen;
}

/** Watches a room, and waits for who is there. */
export async function watch(session: TestSession, request: string, room: string): Promise<Seen> {
  session.say({ op: 'watch', request, room });
  await session.got('presence', (frame) => frame.request === request && frame.isAll === true);
  return seenBy(session, request);
}

/** Enters a room, and waits until others see it. */
export async function enter(session: TestSession, request: string, room: string, more: { readonly name?: string; readonly data?: string } = {}): Promise<void> {
  session.say({ op: 'enter', request, room, ...more });
  await session.got('entered', (frame) => frame.request === request);
}

/** Waits until a watcher sees these there, and no others. */
export async function sees(session: TestSession, request: string, names: readonly string[]): Promise<void> {
  const wanted = [...names].sort().join();
  await eventually(() => [...seenBy(session, request).there.keys()].sort().join() === wanted, { what: `${names.length} to be there: ${wanted.slice(0, 64)}` });
}

export interface Looked {
  readonly room: string;
  readonly members: readonly { readonly name: string; readonly at: number; readonly data?: string }[];
  readonly lastSeen: readonly { readonly name: string; readonly at: number }[];
  readonly next?: string;
}

export async function look(hub: TestHub, room: string, headers: Readonly<Record<string, string>> = {}, query = ''): Promise<Looked> {
  return JSON.parse((await hub.call('GET', `/rooms/${encodeURIComponent(room)}/presence${query}`, { headers })).text) as Looked;
}
