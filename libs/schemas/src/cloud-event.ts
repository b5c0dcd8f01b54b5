import type { ErrorCode } from '@carillon/wire';
import { z } from 'zod';

import { describeFaults, faultsOf, type FieldFault } from './field-fault.ts';
import { parseJsonBody } from './json-body.ts';

/**
 * A CloudEvent 1.0 in its JSON format (https://github.com/cloudevents/spec, v1.0.2). What is checked is what the
 * specification asks of every event; further attributes are kept by whoever forwards the bytes and ignored here.
 * An attribute that is null is one that is not there (JSON format, §2.2).
 */
const NO_CONTROL_CHARACTER = /^\P{Cc}*$/u;
const text = z.string().min(1).regex(NO_CONTROL_CHARACTER, 'has a control character');

export const cloudEvent = z
  .looseObject({
    specversion: z.literal('1.0'),
    id: text,
    source: text,
    type: text,
    subject: text.nullish(),
    time: z.iso.datetime({ offset: true, local: false }).nullish(),
    datacontenttype: text.nullish(),
    dataschema: text.nullish(),
    data_base64: z.string().nullish(),
    /** An extension of ours: the room that the event is routed by. */
    room: text.nullish(),
  })
  .refine(({ data, data_base64: base64 }) => data === undefined || base64 === undefined || base64 === null, { path: ['data_base64'], error: 'comes beside data' });

export type CloudEvent = z.output<typeof cloudEvent>;

export type ReadCloudEvent =
  | { readonly ok: true; readonly event: CloudEvent; /** The routing tag: `room`, else `subject`; not checked, undefined when there is neither. */ readonly room: string | undefined }
  | { readonly ok: false; readonly code: ErrorCode; readonly detail: string; readonly errors: readonly FieldFault[] };

/**
 * Reads a CloudEvent in structured mode.
 * Codes: those of `parseJsonBody`, EVENT_INVALID (with a pointer a field).
 */
export function readCloudEvent(bytes: Uint8Array): ReadCloudEvent {
  const body = parseJsonBody(bytes);
  if (!body.ok) return { ...body, errors: [] };
  const parsed = cloudEvent.safeParse(body.value);
  if (parsed.success) return { ok: true, event: parsed.data, room: parsed.data.room ?? parsed.data.subject ?? undefined };
  const errors = faultsOf(parsed.error);
  return { ok: false, code: 'EVENT_INVALID', detail: describeFaults(errors), errors };
}
