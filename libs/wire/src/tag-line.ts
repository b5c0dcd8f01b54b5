/**
 * The v2 tag line: `ROOMID`, then tab-separated `key=value` fields, then the line feed. Unknown keys are
 * skipped, so that a later version may add one. Values have no control characters; a key comes once.
 */
export interface TagFields {
  /** ULID of the event, given where it entered. */
  readonly id?: string;
  /** Position in the log. */
  readonly seq?: number;
  /** When the event was accepted, in milliseconds since 1970. */
  readonly at?: number;
  /** When it happened, in milliseconds since 1970, as its device said by its own clock; nobody corrects it. */
  readonly et?: number;
  /** Who published it, as the server knows them. */
  readonly from?: string;
  /** Milliseconds after `at` at which it is of no more use. */
  readonly ttl?: number;
  /** W3C traceparent. */
  readonly tp?: string;
  /** Which request of this peer it answers: a subscription that catches up, a history page, a consumer. None: every live subscription. */
  readonly re?: string;
  /** Which attempt at delivering it this is, 1 the first; of consumers. */
  readonly try?: number;
  /** Of a request: the inbox that a reply goes to. */
  readonly rt?: string;
  /** Of a reply: the inbox it is for; it goes there and nowhere else. */
  readonly to?: string;
  /** Of a reply: the id of the request. */
  readonly cid?: string;
  /** Milliseconds that the hub keeps it before it takes its place in its room. */
  readonly delay?: number;
}

 
const VALUE = /^[^\u0000-\u001f\u007f]{1,512}$/u;
const WHOLE = /^(?:0|[1-9][0-9]{0,15})$/;
const ID = /^[0-9A-Za-z_-]{1,64}$/;
const NAMES = { id: 'an event id', re: 'a request', rt: 'an inbox', to: 'an inbox', cid: 'an event id' } as const;
const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

const whole = (text: string): number | undefined => {
  const value = Number(text);
  return WHOLE.test(text) && Number.isSafeInteger(value) ? value : undefined;
};

export type ParsedTagFields = { readonly ok: true; readonly fields: TagFields } | { readonly ok: false; readonly fault: string };

/** Reads the fields after the room's tab, e.g. `id=01J…\tseq=7`. */
export function parseTagFields(text: string): ParsedTagFields {
  const fields: { -readonly [K in keyof TagFields]: TagFields[K] } = {};
  const seen = new Set<string>();
  for (const part of text.split('\t')) {
    const equals = part.indexOf('=');
    if (equals < 1) return { ok: false, fault: 'a field is not key=value' };
    const key = part.slice(0, equals);
    const value = part.slice(equals + 1);
    if (seen.has(key)) return { ok: false, fault: `the field ${key.slice(0, 16)} comes twice` };
    seen.add(key);
    if (!VALUE.test(value)) return { ok: false, fault: `the field ${key.slice(0, 16)} has no valid value` };
    const fault = assign(fields, key, value);
    if (fault !== undefined) return { ok: false, fault };
  }
  return { ok: true, fields };
}

function assign(fields: { -readonly [K in keyof TagFields]: TagFields[K] }, key: string, value: string): string | undefined {
  switch (key) {
    case 'seq':
    case 'at':
    case 'et':
    case 'ttl':
    case 'try':
    case 'delay': {
      const number = whole(value);
      if (number === undefined) return `${key} is not a whole number`;
      fields[key] = number;
      return undefined;
    }
    case 'id':
    case 're':
    case 'rt':
    case 'to':
    case 'cid':
      if (!ID.test(value)) return `${key} is not ${NAMES[key]}`;
      fields[key] = value;
      return undefined;
    case 'tp':
      if (!TRACEPARENT.test(value)) return 'tp is not a traceparent';
      fields.tp = value;
      return undefined;
    case 'from':
      fields.from = value;
      return undefined;
    default:
      return undefined;
  }
}

/** Writes fields as they stand after the room: empty, or starting with a tab. */
export function formatTagFields(fields: TagFields): string {
  let text = '';
  if (fields.id !== undefined) text += `\tid=${fields.id}`;
  if (fields.seq !== undefined) text += `\tseq=${fields.seq}`;
  if (fields.at !== undefined) text += `\tat=${fields.at}`;
  if (fields.from !== undefined) text += `\tfrom=${fields.from}`;
  if (fields.ttl !== undefined) text += `\tttl=${fields.ttl}`;
  if (fields.tp !== undefined) text += `\ttp=${fields.tp}`;
  if (fields.re !== undefined) text += `\tre=${fields.re}`;
  if (fields.try !== undefined) text += `\ttry=${fields.try}`;
  if (fields.rt !== undefined) text += `\trt=${fields.rt}`;
  if (fields.to !== undefined) text += `\tto=${fields.to}`;
  if (fields.cid !== undefined) text += `\tcid=${fields.cid}`;
  if (fields.delay !== undefined) text += `\tdelay=${fields.delay}`;
  if (fields.et !== undefined) text += `\tet=${fields.et}`;
  return text;
}
