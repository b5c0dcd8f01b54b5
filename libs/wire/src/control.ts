import type { ErrorCode } from './errors.ts';
import { DEFAULT_LIMITS, type WireLimits } from './limits.ts';
import { patternFault } from './pattern.ts';

/**
 * Text frames. In v1 the only one is the subscription change of a messenger, `{"rooms":[…],"create":true}`
 * (the original also sends `id` and `type`, which mean nothing here). In v2 every one has an `op`.
 */
export interface SubscriptionChange {
  readonly rooms: readonly string[];
  /** true adds the patterns to the connection, false drops them. */
  readonly create: boolean;
}

export type ControlFrame =
  | { readonly op: 'hello'; readonly session?: string }
  | { readonly op: 'welcome'; readonly session: string; readonly hub?: string; readonly heartbeatMs: number; /** Of the log; none: this hub keeps nothing. */ readonly epoch?: string; readonly class?: StoredClass; /** Where replies to this connection's requests go. */ readonly inbox?: string; readonly limits: WelcomeLimits }
  | { readonly op: 'subscribe'; readonly request: string; readonly rooms: readonly string[]; readonly since?: Since; readonly echo?: boolean }
  | { readonly op: 'subscribed'; readonly request: string; readonly seq?: number; readonly epoch?: string }
  | { readonly op: 'live'; readonly request: string; readonly seq: number }
  | { readonly op: 'behind'; readonly request: string; readonly seq: number }
  | { readonly op: 'unsubscribe'; readonly request: string }
  | { readonly op: 'published'; readonly class: 'live' | StoredClass; /** Id and sequence of each; 0: it was not stored. */ readonly events: readonly (readonly [id: string, seq: number])[] }
  | { readonly op: 'error'; /** Of the catalogue, or of a newer one. */ readonly code: string; readonly detail?: string; readonly request?: string }
  | { readonly op: 'gap'; readonly request: string; readonly from: number; readonly to: number; readonly reason: GapReason }
  | { readonly op: 'history'; readonly request: string; readonly rooms: readonly string[]; readonly before?: number; readonly after?: number; readonly max: number }
  | { readonly op: 'page'; readonly request: string; readonly next: number; readonly isLast: boolean }
  | { readonly op: 'consume'; readonly request: string; readonly name: string; readonly rooms: readonly string[]; readonly since?: Since; readonly ackTimeoutMs?: number; readonly maxDeliveries?: number; readonly maxInFlight?: number; /** Deliveries that this member may have unsettled. */ readonly window?: number }
  | { readonly op: 'consuming'; readonly request: string }
  | { readonly op: 'ack'; readonly request: string; readonly seqs: readonly number[] }
  | { readonly op: 'nack'; readonly request: string; readonly seqs: readonly number[]; readonly delayMs?: number; readonly reason?: string }
  | { readonly op: 'defer'; readonly request: string; readonly seqs: readonly number[]; readonly delayMs?: number; readonly reason?: string }
  | { readonly op: 'discard'; readonly request: string; readonly seqs: readonly number[]; readonly reason?: string }
  | { readonly op: 'settled'; readonly request: string; readonly seqs: readonly number[]; /** Of those that were asked for: settled before, timed out, or never this member's. */ readonly unknown?: readonly number[] }
  | { readonly op: 'enter'; readonly request: string; readonly room: string; /** By default the session. */ readonly name?: string; /** What others are shown of it. */ readonly data?: string }
  | { readonly op: 'entered'; readonly request: string }
  | { readonly op: 'watch'; readonly request: string; readonly room: string }
  | { readonly op: 'presence'; readonly request: string; readonly room: string; /** Everybody who is there, and who was lately: what was said before does not count. */ readonly isAll?: boolean; readonly joined?: readonly PresentMember[]; readonly left?: readonly PresentMember[] }
  | { readonly op: 'refresh'; readonly request: string; /** An access key; a secret. */ readonly key: string }
  | { readonly op: 'refreshed'; readonly request: string }
  | { readonly op: 'drain'; readonly afterMs: number }
  | { readonly op: 'bye'; readonly code?: string };

/** How safe a stored event is: fsynced on one machine, or on a quorum of servers. */
export type StoredClass = 'stored' | 'replicated';

/** Why events that were asked for do not come: past retention, unreadable, or of a log that was made anew since. */
export type GapReason = 'retention' | 'damaged' | 'epoch';

export interface WelcomeLimits {
  readonly frameMaxBytes: number;
  readonly roomMaxBytes: number;
  readonly patternsMax: number;
  /** Publishes that may wait for their ack at a time. */
  readonly publishesMax: number;
}

/** Somebody in a room: since when, or, of one who has left, when last seen (ms since 1970). */
export interface PresentMember {
  readonly name: string;
  readonly at: number;
  readonly data?: string;
}

/** Where a subscription starts: after a sequence (of a log's epoch), at a time (ms since 1970), or with the last n events. */
export type Since = { readonly seq: number; readonly epoch?: string } | { readonly at: number } | { readonly last: number };

export type ControlOp = ControlFrame['op'];

/** Every `op`, with the fields it must have and their shapes; what else an object holds is ignored. */
const SHAPES: Readonly<Record<ControlOp, Readonly<Record<string, Shape>>>> = {
  hello: { session: 'name?' },
  welcome: { session: 'name', hub: 'text?', heartbeatMs: 'whole', epoch: 'text?', class: 'stored?', inbox: 'name?', limits: 'limits' },
  subscribe: { request: 'name', rooms: 'patterns', since: 'since?', echo: 'flag?' },
  subscribed: { request: 'name', seq: 'whole?', epoch: 'text?' },
  live: { request: 'name', seq: 'whole' },
  behind: { request: 'name', seq: 'whole' },
  unsubscribe: { request: 'name' },
  published: { class: 'class', events: 'places' },
  error: { code: 'text', detail: 'text?', request: 'text?' },
  gap: { request: 'name', from: 'whole', to: 'whole', reason: 'gap' },
  history: { request: 'name', rooms: 'patterns', before: 'whole?', after: 'whole?', max: 'whole' },
  page: { request: 'name', next: 'whole', isLast: 'flag' },
  consume: { request: 'name', name: 'name', rooms: 'patterns', since: 'since?', ackTimeoutMs: 'whole?', maxDeliveries: 'whole?', maxInFlight: 'whole?', window: 'whole?' },
  consuming: { request: 'name' },
  ack: { request: 'name', seqs: 'wholes' },
  nack: { request: 'name', seqs: 'wholes', delayMs: 'whole?', reason: 'text?' },
  defer: { request: 'name', seqs: 'wholes', delayMs: 'whole?', reason: 'text?' },
  discard: { request: 'name', seqs: 'wholes', reason: 'text?' },
  settled: { request: 'name', seqs: 'wholes', unknown: 'wholes?' },
  enter: { request: 'name', room: 'text', name: 'name?', data: 'text?' },
  entered: { request: 'name' },
  watch: { request: 'name', room: 'text' },
  presence: { request: 'name', room: 'text', isAll: 'flag?', joined: 'members?', left: 'members?' },
  refresh: { request: 'name', key: 'text' },
  refreshed: { request: 'name' },
  drain: { afterMs: 'whole' },
  bye: { code: 'text?' },
};

/** A subscription starts at one of these, so that a reader may tell them apart by which is there. */
const STARTS = ['seq', 'at', 'last'] as const;

type Shape = 'text' | 'text?' | 'members?' | 'name' | 'name?' | 'flag' | 'flag?' | 'whole' | 'whole?' | 'wholes' | 'wholes?' | 'places' | 'patterns' | 'since?' | 'class' | 'stored?' | 'gap' | 'limits';
type Refusal = { readonly ok: false; readonly code: Extract<ErrorCode, 'CONTROL_INVALID' | 'CONTROL_TOO_LARGE' | 'PATTERN_INVALID'>; readonly detail: string };

export type ParsedControl = { readonly ok: true; readonly frame: ControlFrame } | Refusal;
export type ParsedSubscriptionChange = { readonly ok: true; readonly change: SubscriptionChange } | Refusal;

const utf8 = new TextEncoder();
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);
const isWhole = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
// What is told apart by it: sessions, requests, consumers, ids.
const NAME = /^[0-9A-Za-z_-]{1,64}$/;
const isName = (value: unknown): boolean => typeof value === 'string' && NAME.test(value);
const isPlace = (value: unknown): boolean => Array.isArray(value) && value.length === 2 && isName(value[0]) && isWhole(value[1]);
const isMember = (value: unknown): boolean => isRecord(value) && isName(value['name']) && isWhole(value['at']) && (value['data'] === undefined || isText(value['data']));
const isText = (value: unknown): value is string => typeof value === 'string' && value.length <= 1_024;
const invalid = (detail: string): Refusal => ({ ok: false, code: 'CONTROL_INVALID', detail });

function parseObject(text: string, limits: WireLimits): { readonly ok: true; readonly object: Record<string, unknown> } | Refusal {
  // A character is one to three bytes: most texts need no counting.
  const isCountNeeded = text.length <= limits.controlMaxBytes && text.length * 3 > limits.controlMaxBytes;
  const bytes = isCountNeeded ? utf8.encode(text).length : text.length;
  if (bytes > limits.controlMaxBytes) return { ok: false, code: 'CONTROL_TOO_LARGE', detail: `at least ${bytes} bytes` };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return invalid('not JSON');
  }
  return isRecord(value) ? { ok: true, object: value } : invalid('not a JSON object');
}

function patternsFault(value: unknown, limits: WireLimits): Refusal | undefined {
  if (!Array.isArray(value)) return invalid('rooms is not a list');
  if (value.length > limits.patternsMax) return invalid(`more than ${limits.patternsMax} rooms at once`);
  for (const [index, pattern] of value.entries()) {
    const fault = typeof pattern === 'string' ? patternFault(pattern, limits.roomMaxBytes) : 'not a string';
    if (fault !== undefined) return { ok: false, code: 'PATTERN_INVALID', detail: `rooms[${index}] ${fault}` };
  }
  return undefined;
}

/** Reads a v1 subscription change. Codes: CONTROL_INVALID, CONTROL_TOO_LARGE, PATTERN_INVALID. */
export function parseSubscriptionChange(text: string, limits: WireLimits = DEFAULT_LIMITS): ParsedSubscriptionChange {
  const parsed = parseObject(text, limits);
  if (!parsed.ok) return parsed;
  const { rooms, create } = parsed.object;
  if (create !== undefined && typeof create !== 'boolean') return invalid('create is not a boolean');
  const fault = patternsFault(rooms, limits);
  // A change without `create` drops: the zero value of the original's boolean field.
  return fault ?? { ok: true, change: { rooms: rooms as string[], create: create ?? false } };
}

export function formatSubscriptionChange(change: SubscriptionChange): string {
  return JSON.stringify({ rooms: change.rooms, create: change.create });
}

const LIMITS: readonly (keyof WelcomeLimits)[] = ['frameMaxBytes', 'roomMaxBytes', 'patternsMax', 'publishesMax'];

function isSince(value: unknown): boolean {
  if (!isRecord(value) || STARTS.filter((key) => value[key] !== undefined).length !== 1 || !STARTS.some((key) => isWhole(value[key]))) return false;
  return value['epoch'] === undefined || (value['seq'] !== undefined && isText(value['epoch']));
}

function fits(shape: Shape, value: unknown): boolean {
  switch (shape) {
    case 'text':
      return isText(value);
    case 'members?':
      return value === undefined || (Array.isArray(value) && value.every(isMember));
    case 'name':
      return isName(value);
    case 'flag':
      return typeof value === 'boolean';
    case 'whole':
      return isWhole(value);
    case 'wholes':
      return Array.isArray(value) && value.every(isWhole);
    case 'wholes?':
      return value === undefined || (Array.isArray(value) && value.every(isWhole));
    case 'places':
      return Array.isArray(value) && value.every(isPlace);
    case 'class':
      return value === 'live' || value === 'stored' || value === 'replicated';
    case 'gap':
      return value === 'retention' || value === 'damaged' || value === 'epoch';
    case 'limits':
      return isRecord(value) && LIMITS.every((name) => isWhole(value[name]));
    case 'since?':
      return value === undefined || isSince(value);
    case 'text?':
      return value === undefined || isText(value);
    case 'name?':
      return value === undefined || isName(value);
    case 'flag?':
      return value === undefined || typeof value === 'boolean';
    case 'whole?':
      return value === undefined || isWhole(value);
    case 'stored?':
      return value === undefined || value === 'stored' || value === 'replicated';
    case 'patterns':
      return true; // told apart by patternsFault, which has a code of its own
    default:
      return shape satisfies never;
  }
}

/** Reads a v2 control frame. Codes: CONTROL_INVALID, CONTROL_TOO_LARGE, PATTERN_INVALID. */
export function parseControl(text: string, limits: WireLimits = DEFAULT_LIMITS): ParsedControl {
  const parsed = parseObject(text, limits);
  if (!parsed.ok) return parsed;
  const { op } = parsed.object;
  if (typeof op !== 'string' || !Object.hasOwn(SHAPES, op)) return invalid('unknown op');
  const shapes = SHAPES[op as ControlOp];
  const frame: Record<string, unknown> = { op };
  for (const [field, shape] of Object.entries(shapes)) {
    const value = parsed.object[field];
    if (shape === 'patterns') {
      const fault = patternsFault(value, limits);
      if (fault !== undefined) return fault;
    } else if (!fits(shape, value)) {
      return invalid(`${op}.${field} is malformed`);
    }
    if (value !== undefined) frame[field] = value;
  }
  return { ok: true, frame: frame as ControlFrame };
}

export function formatControl(frame: ControlFrame): string {
  return JSON.stringify(frame);
}
