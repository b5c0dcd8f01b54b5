/** What was published, what became of it, and what a reader got: enough to tell whether anything was lost, made up, turned round or repeated. */
export interface WrittenEvent {
  readonly room: string;
  readonly writer: string;
  /** 1, 2, 3 … of each writer. */
  readonly counter: number;
  /** Its place, of one that was acked with it. */
  seq: number | undefined;
  /** Somebody said that it will not be lost. */
  isAcked: boolean;
}

export interface ReadEvent {
  readonly room: string;
  readonly writer: string;
  readonly counter: number;
  readonly seq: number;
}

export interface ReadGap {
  readonly from: number;
  readonly to: number;
}

export interface ReaderLog {
  readonly name: string;
  readonly wants: (room: string) => boolean;
  /** In the order it got them. */
  readonly events: readonly ReadEvent[];
  readonly gaps: readonly ReadGap[];
}

export interface Violation {
  readonly rule: 'lost' | 'from-nowhere' | 'repeated' | 'sequence-back' | 'writer-back' | 'places-differ' | 'memory-over-budget' | 'not-consumed' | 'not-settled' | 'given-after-ack' | 'dead-after-ack' | 'member-ended';
  /** Which reader, consumer or process. */
  readonly reader: string;
  readonly detail: string;
}

/** Violations that are told of one rule and reader; more say nothing new. */
const TOLD_MAX = 20;
/** Resident memory of one process; one that is left alone has about 200 MiB when it is run from source. */
export const MEMORY_MAX_BYTES = 400 * 1_048_576;

export function check(written: readonly WrittenEvent[], readers: readonly ReaderLog[]): readonly Violation[] {
  const violations: Violation[] = [];
  const byName = new Map(written.map((event) => [nameOf(event), event]));
  const places = new Map<string, number>();
  for (const reader of readers) {
    const { violations: own, tell } = violationsOf(reader.name);
    checkOrder(reader, tell);
    const got = new Set<string>();
    for (const event of reader.events) {
      const name = nameOf(event);
      if (!byName.has(name)) tell('from-nowhere', name);
      if (got.has(name)) tell('repeated', name);
      got.add(name);
      const place = places.get(name);
      if (place !== undefined && place !== event.seq) tell('places-differ', `${name} at ${place} and ${event.seq}`);
      places.set(name, event.seq);
    }
    for (const event of written) {
      const { seq } = event;
      if (!event.isAcked || !reader.wants(event.room)) continue;
      const name = nameOf(event);
      if (!got.has(name) && !(seq !== undefined && reader.gaps.some(({ from, to }) => from <= seq && seq <= to))) tell('lost', `${name} at ${seq ?? 'no place'}`);
      else if (got.has(name) && seq !== undefined && places.get(name) !== seq) tell('places-differ', `${name} was acked at ${seq} and read at ${places.get(name)}`);
    }
    violations.push(...own);
  }
  return violations;
}

/** Collects what is told of one reader, of each rule so much that it says something. */
export function violationsOf(reader: string): { readonly violations: readonly Violation[]; readonly tell: (rule: Violation['rule'], detail: string) => void } {
  const violations: Violation[] = [];
  const told = new Map<string, number>();
  const tell = (rule: Violation['rule'], detail: string): void => {
    const count = told.get(rule) ?? 0;
    told.set(rule, count + 1);
    if (count < TOLD_MAX) violations.push({ rule, reader, detail });
  };
  return { violations, tell };
}

/** Whether a process had more than its budget at any time: the most of each, by name, bytes. */
export function checkMemory(largest: Readonly<Record<string, number>>): readonly Violation[] {
  return Object.entries(largest).flatMap(([process, bytes]) => (bytes > MEMORY_MAX_BYTES ? [{ rule: 'memory-over-budget', reader: process, detail: `${bytes} of ${MEMORY_MAX_BYTES} bytes` } as const] : []));
}

/** In each room a reader's sequences only go up, and so does each writer's counter. */
function checkOrder({ events }: ReaderLog, tell: (rule: Violation['rule'], detail: string) => void): void {
  const lasts = new Map<string, number>();
  const counters = new Map<string, number>();
  for (const event of events) {
    const last = lasts.get(event.room) ?? 0;
    if (event.seq <= last) tell('sequence-back', `${event.seq} after ${last} in ${event.room}`);
    lasts.set(event.room, Math.max(last, event.seq));
    const stream = `${event.writer} in ${event.room}`;
    const counter = counters.get(stream) ?? 0;
    if (event.counter <= counter) tell('writer-back', `${event.counter} after ${counter} of ${stream}`);
    counters.set(stream, Math.max(counter, event.counter));
  }
}

/** What an event is known by, whatever becomes of it. */
export function nameOf({ room, writer, counter }: Pick<WrittenEvent, 'room' | 'writer' | 'counter'>): string {
  return `${room} ${writer}-${counter}`;
}
