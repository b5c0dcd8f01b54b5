import type { StreamInfo } from '@nats-io/jetstream';

import type { RetentionPolicy, StoredEvent } from './event-log.ts';
import { JetStreamCursor } from './jetstream-cursor.ts';
import { withRange, withSingles, type GoneRooms } from './jetstream-gone.ts';
import { sequenceAt } from './jetstream-history.ts';
import { ApiFault } from './jetstream-link.ts';
import { lastSeqs, messageOf } from './jetstream-lookup.ts';
import { isExpired } from './jetstream-reader.ts';
import { decodeRecord } from './jetstream-record.ts';
import type { OpenStream } from './jetstream-stream.ts';
import { ALL_DUE, allOf, dueSubject, filtersOf, parseLogSubject } from './jetstream-subjects.ts';
import { policyFor } from './retention.ts';

/*
 * Deletes room by room, each time in this order: write down how far, then purge. Readers in between are told a gap too early, never
 * too late. JetStream knows neither bytes nor ages of one room, so ages are turned into a sequence and bytes are counted from the
 * sizes of the room's messages.
 */
const PAGE_EVENTS = 1_000;
// Rooms that are asked about at the same time.
const PARALLEL = 32;
const MESSAGE_UNKNOWN = 10_037;
const DELETE_FAILED = 10_057;
const encoder = new TextEncoder();
const decoder = new TextDecoder();


interface Target {
  readonly workspaceId: string;
  readonly subject: string;
  readonly policy: RetentionPolicy;
}

/** The policies of each workspace, and what enforces them. */
export class JetStreamRetention {
  readonly #gone: GoneRooms;
  readonly #policies = new Map<string, readonly RetentionPolicy[]>();
  /** When a room's first message was stored, as far as is known: a later one is only younger. */
  readonly #firstStoredAtMs = new Map<string, number>();

  constructor(gone: GoneRooms) {
    this.#gone = gone;
  }

  set(workspaceId: string, policies: readonly RetentionPolicy[]): void {
    this.#policies.set(workspaceId, policies);
  }

  /** Notes that an event will expire, so that a sweep finds it. A note that is lost costs space, nothing else: expired events are never given. */
  noteExpiry(stream: OpenStream, { workspaceId, expiresAtMs }: Pick<StoredEvent, 'workspaceId' | 'expiresAtMs'>, seq: number): void {
    stream.link.publish(dueSubject(workspaceId, seq), encoder.encode(JSON.stringify({ expiresAtMs })));
  }

  async sweep(stream: OpenStream): Promise<number> {
    let deleted = await this.#sweepExpired(stream);
    for (const [workspaceId, policies] of this.#policies) {
      const targets = await this.#targetsOf(stream, { workspaceId, policies });
      const cutoffs = new Map<number, number>();
      for (const { policy } of targets) {
        if (policy.maxAgeMs !== null && !cutoffs.has(policy.maxAgeMs)) cutoffs.set(policy.maxAgeMs, await sequenceAt(stream, Date.now() - policy.maxAgeMs));
      }
      for (let at = 0; at < targets.length; at += PARALLEL) {
        const counts = await Promise.all(targets.slice(at, at + PARALLEL).map((target) => this.#sweepRoom(stream, target, cutoffs)));
        deleted += counts.reduce((sum, count) => sum + count, 0);
      }
    }
    return deleted;
  }

  async deleteWorkspace(stream: OpenStream, workspaceId: string): Promise<void> {
    await stream.link.api(`STREAM.PURGE.${stream.name}`, { filter: allOf('log', workspaceId) });
    for (const kind of ['gone', 'due'] as const) await stream.link.api(`STREAM.PURGE.${stream.goneName}`, { filter: allOf(kind, workspaceId) });
    this.#gone.forget(workspaceId);
    this.#firstStoredAtMs.clear();
  }

  async #targetsOf(stream: OpenStream, { workspaceId, policies }: { readonly workspaceId: string; readonly policies: readonly RetentionPolicy[] }): Promise<readonly Target[]> {
    const targets: Target[] = [];
    if (policies.length === 0) return targets;
    for (const filter of filtersOf('log', workspaceId, policies.map(({ pattern }) => pattern))) {
      for (const subject of await subjectsOf(stream, filter)) {
        const policy = policyFor(parseLogSubject(subject)?.room ?? '', policies);
        if (policy !== undefined && (policy.maxAgeMs !== null || policy.maxBytes !== null)) targets.push({ workspaceId, subject, policy });
      }
    }
    return targets;
  }

  async #sweepRoom(stream: OpenStream, { workspaceId, subject, policy }: Target, cutoffs: ReadonlyMap<number, number>): Promise<number> {
    const byAge = policy.maxAgeMs === null ? 0 : await this.#tooOld(stream, { subject, maxAgeMs: policy.maxAgeMs, cutoff: cutoffs.get(policy.maxAgeMs) ?? 0 });
    const bySize = policy.maxBytes === null ? 0 : await tooLarge(stream, { subject, maxBytes: policy.maxBytes });
    const upTo = Math.max(byAge, bySize);
    if (upTo === 0) return 0;
    const first = await messageOf(stream, { seq: 1, next_by_subj: subject });
    if (first === undefined || first.seq > upTo) return 0;
    const last = await lastOf(stream, subject, { from: first.seq, upTo });
    await this.#note(stream, { workspaceId, subject, range: { from: first.seq, upTo: last } });
    this.#firstStoredAtMs.delete(subject);
    const { purged } = await stream.link.api<{ readonly purged: number }>(`STREAM.PURGE.${stream.name}`, { filter: subject, seq: upTo + 1 });
    return purged;
  }

  /** Everything of the room up to this sequence is too old; 0: nothing is. */
  async #tooOld(stream: OpenStream, { subject, maxAgeMs, cutoff }: { readonly subject: string; readonly maxAgeMs: number; readonly cutoff: number }): Promise<number> {
    const borderMs = Date.now() - maxAgeMs;
    const known = this.#firstStoredAtMs.get(subject);
    if (known !== undefined && known >= borderMs) return 0;
    const first = await messageOf(stream, { seq: 1, next_by_subj: subject });
    if (first !== undefined) this.#firstStoredAtMs.set(subject, first.storedAtMs);
    return first !== undefined && first.seq <= cutoff ? cutoff : 0;
  }

  async #note(stream: OpenStream, { workspaceId, subject, range, singles = [] }: { readonly workspaceId: string; readonly subject: string; readonly range?: { readonly from: number; readonly upTo: number }; readonly singles?: readonly number[] }): Promise<void> {
    const room = parseLogSubject(subject)?.room;
    if (room === undefined) return;
    await this.#gone.change(stream, { workspaceId, room }, (known) => withSingles(range === undefined ? known : withRange(known, range), singles));
  }

  async #sweepExpired(stream: OpenStream): Promise<number> {
    const cursor = await JetStreamCursor.open(stream, { streamName: stream.goneName, filters: [ALL_DUE], from: { after: 0 } });
    const nowMs = Date.now();
    let deleted = 0;
    try {
      for (;;) {
        const { messages, end } = await cursor.fetch({ maxEvents: PAGE_EVENTS });
        for (const note of messages) {
          if (dueAt(note.data) > nowMs) continue;
          const [, , workspaceId = '', , seq] = note.subject.split('.');
          const stored = await messageOf(stream, { seq: Number(seq) });
          const event = stored === undefined ? undefined : decodeRecord(stored.subject, stored.data, { seq: stored.seq, prevSeq: 0, storedAtMs: stored.storedAtMs });
          // A note may be of a log that was there before this one: the event itself says whether it has expired.
          if (stored !== undefined && event !== undefined && isExpired(event, nowMs)) {
            await this.#note(stream, { workspaceId, subject: stored.subject, singles: [stored.seq] });
            deleted += await deleteMessage(stream, stream.name, stored.seq);
          }
          await deleteMessage(stream, stream.goneName, note.seq);
        }
        if (end === 'all') return deleted;
      }
    } finally {
      cursor.close();
    }
  }
}

/** When a note says that its event expires; one that cannot be read says now, and the event itself decides. */
function dueAt(note: Uint8Array): number {
  try {
    return (JSON.parse(decoder.decode(note)) as { readonly expiresAtMs: number }).expiresAtMs;
  } catch {
    return 0;
  }
}

/** The last sequence of a room up to one, as the leader has it: a replica that is behind tells one before it, from which the leader leads on. */
async function lastOf(stream: OpenStream, subject: string, { from, upTo }: { readonly from: number; readonly upTo: number }): Promise<number> {
  for (let last = await lastKnown(stream, subject, { from, upTo }); ; ) {
    const next = await messageOf(stream, { seq: last + 1, next_by_subj: subject });
    if (next === undefined || next.seq > upTo) return last;
    last = next.seq;
  }
}

/** On servers that cannot tell, what is to be deleted is looked through. */
async function lastKnown(stream: OpenStream, subject: string, { from, upTo }: { readonly from: number; readonly upTo: number }): Promise<number> {
  const told = (await lastSeqs(stream, [subject], upTo)).get(subject);
  if (told !== undefined) return told;
  const cursor = await JetStreamCursor.open(stream, { filters: [subject], from: { after: from - 1 }, headersOnly: true });
  try {
    for (let last = from; ; ) {
      const { messages, end } = await cursor.fetch({ maxEvents: PAGE_EVENTS });
      last = Math.max(last, ...messages.map(({ seq }) => seq).filter((seq) => seq <= upTo));
      if (end === 'all' || (messages.at(-1)?.seq ?? 0) >= upTo) return last;
    }
  } finally {
    cursor.close();
  }
}

async function subjectsOf(stream: OpenStream, filter: string): Promise<readonly string[]> {
  const subjects: string[] = [];
  for (let offset = 0; ; ) {
    const { state, total } = await stream.link.ask<StreamInfo>(`STREAM.INFO.${stream.name}`, { subjects_filter: filter, offset });
    const page = Object.keys(state.subjects ?? {});
    subjects.push(...page);
    offset += page.length;
    if (page.length === 0 || offset >= total) return subjects;
  }
}

/** Everything of the room up to this sequence is more than it may have; 0: nothing is. */
async function tooLarge(stream: OpenStream, { subject, maxBytes }: { readonly subject: string; readonly maxBytes: number }): Promise<number> {
  let total = 0;
  await eachSize(stream, subject, (_seq, byteCount) => {
    total += byteCount;
    return true;
  });
  // Gone through again from the oldest on instead of kept: a room may have millions of events.
  let upTo = 0;
  if (total > maxBytes) {
    await eachSize(stream, subject, (seq, byteCount) => {
      if (total <= maxBytes) return false;
      total -= byteCount;
      upTo = seq;
      return true;
    });
  }
  return upTo;
}

/** The sizes of a room's messages, oldest first, for as long as they are wanted. */
async function eachSize(stream: OpenStream, subject: string, wantsMore: (seq: number, byteCount: number) => boolean): Promise<void> {
  const cursor = await JetStreamCursor.open(stream, { filters: [subject], from: { after: 0 }, headersOnly: true });
  try {
    for (;;) {
      const { messages, end } = await cursor.fetch({ maxEvents: PAGE_EVENTS });
      for (const { seq, message } of messages) if (!wantsMore(seq, Number(message.headers?.get('Nats-Msg-Size') ?? 0))) return;
      if (end === 'all') return;
    }
  } finally {
    cursor.close();
  }
}

async function deleteMessage(stream: OpenStream, name: string, seq: number): Promise<number> {
  try {
    await stream.link.api(`STREAM.MSG.DELETE.${name}`, { seq, no_erase: true });
    return 1;
  } catch (error) {
    // Deleted by another process meanwhile; JetStream has one code for that and for a deletion that failed.
    if (error instanceof ApiFault && (error.code === MESSAGE_UNKNOWN || (error.code === DELETE_FAILED && (await messageOf(stream, { seq }, name)) === undefined))) return 0;
    throw error;
  }
}
