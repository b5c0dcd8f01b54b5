import { displayName, eventName } from '@carillon/schemas';
import { CarillonError } from '@carillon/wire';
import { z } from 'zod';

/**
 * What EnSync's callers send. They send more than they mean: times of the year 1, names that are empty, lists that are
 * null. Unknown fields are ignored, and what stands for "as it was" is undefined after reading.
 */
const BODY_NAMES_MAX = 500;
const FIELDS_MAX = 500;

const absent = <T extends z.ZodType>(type: T) => type.nullish().transform((value) => value ?? undefined);
const emptyIsAbsent = <T extends z.ZodType>(type: T) => z.preprocess((value) => (value === '' || value === null ? undefined : value), type.optional());

const payload = z.record(z.string().min(1).max(256), z.unknown()).refine((fields) => Object.keys(fields).length <= FIELDS_MAX, `must not have more than ${FIELDS_MAX} fields`);
const names = absent(z.array(z.string().max(256)).max(BODY_NAMES_MAX));
const paths = z.array(z.string().max(512)).max(100).nullable().transform((list) => list ?? []);
const resources = absent(z.record(z.string().max(64), z.record(z.string().max(64), paths).nullable().transform((actions) => actions ?? {})));
const permissions = z.object({ send: names, receive: names, resources });

/** POST /event. */
export const eventCreate = z.object({ name: eventName, payload });
/** PUT /event/{id}: an empty name or payload stays as it was. */
export const eventUpdate = z.object({ name: emptyIsAbsent(eventName), payload: absent(payload).transform((fields) => (fields === undefined || Object.keys(fields).length === 0 ? undefined : fields)) });
/** POST /access-key: old documents send permissions alone. */
export const accessKeyCreate = z.object({
  type: emptyIsAbsent(z.string().toUpperCase().pipe(z.enum(['SERVICE', 'ACCOUNT']))).transform((type) => type ?? ('SERVICE' as const)),
  name: emptyIsAbsent(displayName),
  permissions: absent(permissions),
});
/** POST …/permissions. */
export const permissionsUpdate = permissions;
/** PUT /access/service-key-pair: either spelling. */
export const servicePairRotate = z.object({ access_key: emptyIsAbsent(z.string().max(256)), accessKey: emptyIsAbsent(z.string().max(256)) });
/** POST /workspace: a path makes what is missing of it. */
export const workspaceCreate = z.object({ name: z.string().min(1).max(1_024) });

/** Lists that are undefined stay as they were. */
export type PermissionsBody = z.output<typeof permissions>;

/** Reads a body by one of these; RESOURCE_INVALID says where it is wrong, never what stands there. */
export function readBody<S extends z.ZodType>(schema: S, body: unknown): z.output<S> {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.slice(0, 5).map(({ path, message }) => `/${path.map(String).join('/')} ${message}`.slice(0, 200));
  throw new CarillonError('RESOURCE_INVALID', faults.join('; '));
}
