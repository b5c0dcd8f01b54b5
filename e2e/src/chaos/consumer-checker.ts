import { nameOf, violationsOf, type Violation, type WrittenEvent } from './chaos-checker.ts';

/** One delivery to a member of a durable consumer, and what the member did with it. */
export interface GivenDelivery {
  readonly room: string;
  readonly writer: string;
  readonly counter: number;
  readonly member: string;
  readonly attempt: number;
  /** When it came, and when the promise of its ack resolved: milliseconds on one clock, which does not go back. */
  readonly atMs: number;
  ackedAtMs: number | undefined;
  /** An ack was sent and not confirmed: the connection may have been lost before the ack came, or after. */
  mayBeAcked: boolean;
}

export interface DeadEvent {
  readonly room: string;
  readonly writer: string;
  readonly counter: number;
  /** Why it was given up, and after how many attempts, as the letter says. */
  readonly reason: string;
}

export interface ConsumerRecord {
  readonly name: string;
  readonly wants: (room: string) => boolean;
  /** To all members, in the order in which they came. */
  readonly deliveries: readonly GivenDelivery[];
  /** What is told of as dead letters. */
  readonly dead: readonly DeadEvent[];
  /** Members whose part ended, with the code, though nobody ended it. */
  readonly ended: readonly string[];
}

/**
 * What was acked to its writer reaches a member and ends acked, or is a dead letter; nothing comes that nobody wrote, and
 * nothing after its ack. What was written and not acked may come or not; if it comes, it ends as well. Where an ack was sent
 * and not confirmed, either is right.
 */
export function checkConsumer(written: readonly WrittenEvent[], { name, wants, deliveries, dead, ended }: ConsumerRecord): readonly Violation[] {
  const { violations, tell } = violationsOf(name);
  const known = new Set(written.filter(({ room }) => wants(room)).map(nameOf));
  const buried = new Map(dead.map((letter) => [nameOf(letter), letter.reason]));
  const given = new Set(deliveries.map(nameOf));
  const open = new Set(deliveries.filter(({ mayBeAcked }) => mayBeAcked).map(nameOf));
  const acked = new Map<string, GivenDelivery & { readonly ackedAtMs: number }>();
  for (const delivery of deliveries) {
    const event = nameOf(delivery);
    const before = acked.get(event);
    // An earlier attempt that comes late was on its way, e.g. behind a partition, before the one that was acked.
    if (before !== undefined && before.ackedAtMs < delivery.atMs && before.attempt < delivery.attempt) tell('given-after-ack', `${event} to ${tried(delivery)}, ${Math.round(delivery.atMs - before.ackedAtMs)} ms after the ack of ${tried(before)}, which came ${Math.round(delivery.atMs - before.atMs)} ms before`);
    const { ackedAtMs } = delivery;
    if (ackedAtMs !== undefined && ackedAtMs < (before?.ackedAtMs ?? Infinity)) acked.set(event, { ...delivery, ackedAtMs });
  }
  for (const which of ended) tell('member-ended', which);
  for (const event of new Set([...given, ...buried.keys()])) if (!known.has(event)) tell('from-nowhere', event);
  for (const [event, reason] of buried) {
    const ack = acked.get(event);
    if (ack !== undefined) tell('dead-after-ack', `${event}, acked by ${tried(ack)} after ${Math.round(ack.ackedAtMs - ack.atMs)} ms; dead: ${reason}; given to ${deliveries.filter((each) => nameOf(each) === event).map(tried).join(', ')}`);
  }
  for (const event of written) {
    if (!wants(event.room)) continue;
    const which = nameOf(event);
    if (event.isAcked && !given.has(which) && !buried.has(which)) tell('not-consumed', `${which} at ${event.seq ?? 'no place'}`);
    else if (given.has(which) && !acked.has(which) && !open.has(which) && !buried.has(which)) tell('not-settled', which);
  }
  return violations;
}

function tried({ member, attempt }: GivenDelivery): string {
  return `${member} (attempt ${attempt})`;
}
