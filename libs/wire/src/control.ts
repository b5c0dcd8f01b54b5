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
  | { readonly op: 'hello'; readonly hub?: string; readonly session?: string }
  | { readonly op: 'welcome'; readonly hub?: string; readonly session?: string; readonly heartbeatMs: number; readonly limits: { readonly frameMaxBytes: number; readonly roomMaxBytes: number; readonly patternsMax: number } }
  | { readonly op: 'subscribe'; readonly request?: string; readonly rooms: readonly string[]; readonly since?: Since }
  | { readonly op: 'unsubscribe'; readonly request?: string; readonly rooms: readonly string[] }
  | { readonly op: 'subscribed'; readonly request?: string; readonly rooms: readonly string[] }
  | { readonly op: 'published'; readonly id: string; readonly seq?: number; readonly class: 'live' | 'stored' | 'replicated' }
  | { readonly op: 'error'; /** Of the catalogue, or of a newer one. */ readonly code: string; readonly detail?: string; readonly request?: string }
  | { readonly op: 'gap'; readonly room: string; readonly from: number; readonly to: number }
  | { readonly op: 'ack' | 'nack' | 'defer' | 'discard'; readonly room: string; readonly seq: number; readonly delayMs?: number }
  | { readonly op: 'history'; readonly request: string; readonly room: string; readonly before?: number; readonly max: number }
  | { readonly op: 'presence'; readonly room: string; readonly joined?: readonly string[]; readonly left?: readonly string[] }
  | { readonly op: 'drain'; readonly afterMs: number }
  | { readonly op: 'bye'; readonly code?: string };

/** Where a subscription starts: after a sequence, at a time (ms since 1970), or with the last n events. */
export type Since = { readonly seq: number } | { readonly at: number } | { readonly last: number };

export type ControlOp = ControlFrame['op'];

/** Every `op`, with the fields it must have and their shapes; what else an object holds is ignored. */
const SHAPES: Readonly<Record<ControlOp, Readonly<Record<string, Shape>>>> = {
  hello: { hub: 'text?', session: 'text?' },
  welcome: { hub: 'text?', session: 'text?', heartbeatMs: 'whole', limits: 'limits' },
  subscribe: { request: 'text?', rooms: 'patterns', since: 'since?' },
  unsubscribe: { request: 'text?', rooms: 'patterns' },
  subscribed: { request: 'text?', rooms: 'patterns' },
  published: { id: 'text', seq: 'whole?', class: 'class' },
  error: { code: 'text', detail: 'text?', request: 'text?' },
  gap: { room: 'text', from: 'whole', to: 'whole' },
  ack: { room: 'text', seq: 'whole' },
  nack: { room: 'text', seq: 'whole', delayMs: 'whole?' },
  defer: { room: 'text', seq: 'whole', delayMs: 'whole?' },
  discard: { room: 'text', seq: 'whole' },
  history: { request: 'text', room: 'text', before: 'whole?', max: 'whole' },
  presence: { room: 'text', joined: 'texts?', left: 'texts?' },
  drain: { afterMs: 'whole' },
  bye: { code: 'text?' },
};

/** A subscription starts at one of these, so that a reader may tell them apart by which is there. */
const STARTS = ['seq', 'at', 'last'] as const;

type Shape = 'text' | 'text?' | 'texts?' | 'whole' | 'whole?' | 'patterns' | 'since?' | 'class' | 'limits';
type Refusal = { readonly ok: false; readonly code: Extract<ErrorCode, 'CONTROL_INVALID' | 'CONTROL_TOO_LARGE' | 'PATTERN_INVALID'>; readonly detail: string };

export type ParsedControl = { readonly ok: true; readonly frame: ControlFrame } | Refusal;
export type ParsedSubscriptionChange = { readonly ok: true; readonly change: SubscriptionChange } | Refusal;

const utf8 = new TextEncoder();
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);
const isWhole = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
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

function fits(shape: Shape, value: unknown): boolean {
  switch (shape) {
    case 'text':
      return isText(value);
    case 'text?':
      return value === undefined || isText(value);
    case 'texts?':
      return value === undefined || (Array.isArray(value) && value.every(isText));
    case 'whole':
      return isWhole(value);
    case 'whole?':
      return value === undefined || isWhole(value);
    case 'class':
      return value === 'live' || value === 'stored' || value === 'replicated';
    case 'limits':
      return isRecord(value) && isWhole(value['frameMaxBytes']) && isWhole(value['roomMaxBytes']) && isWhole(value['patternsMax']);
    case 'since?':
      return value === undefined || (isRecord(value) && STARTS.filter((key) => value[key] !== undefined).length === 1 && STARTS.some((key) => isWhole(value[key])));
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
