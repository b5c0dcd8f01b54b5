import { isDeepStrictEqual } from 'node:util';

/**
 * EnSync defines an event by the types of its first level: `{"id":"string","total":"double"}`. Every field has to be there,
 * fields that are not named may be. Here that is a JSON Schema, which carries the original in its `$comment` (definitions may have
 * no keywords but those of JSON Schema), so that it comes back with the words it was written with. A comment that is not
 * what its schema says any more (somebody has changed the schema) is not believed.
 */
export type Payload = Readonly<Record<string, string>>;
type Schema = Readonly<Record<string, unknown>>;

export type ReadPayload = { readonly ok: true; readonly schema: Schema } | { readonly ok: false; readonly field: string };

const COMMENT = 'x-ensync-payload ';

/** EnSync's `integer` has 32 bits: what does not fit is a `long`. */
const INTEGER_MIN = -2_147_483_648;
const INTEGER_MAX = 2_147_483_647;
const INTEGER: Schema = { type: 'integer', minimum: INTEGER_MIN, maximum: INTEGER_MAX };

const SCHEMAS: Readonly<Record<string, Schema>> = {
  string: { type: 'string' }, boolean: { type: 'boolean' }, bool: { type: 'boolean' }, object: { type: 'object' }, array: { type: 'array' }, null: { type: 'null' },
  integer: INTEGER, int: INTEGER, long: { type: 'integer' },
  number: { type: 'number' }, float: { type: 'number' }, double: { type: 'number' },
};

/** The types a field of a definition may have. */
export const PAYLOAD_TYPES = Object.keys(SCHEMAS);

/** Makes the schema of a payload; `field` is the first whose type is unknown. */
export function readPayload(payload: Readonly<Record<string, unknown>>): ReadPayload {
  const properties: [string, Schema][] = [];
  for (const [field, type] of Object.entries(payload)) {
    const schema = typeof type === 'string' && Object.hasOwn(SCHEMAS, type.toLowerCase()) ? SCHEMAS[type.toLowerCase()] : undefined;
    if (schema === undefined) return { ok: false, field };
    properties.push([field, schema]);
  }
  return { ok: true, schema: { type: 'object', properties: Object.fromEntries(properties), required: Object.keys(payload), $comment: COMMENT + JSON.stringify(payload) } };
}

/** Shows a schema as a payload: the one it was made of, or what can be said of its first level. */
export function showPayload(schema: Schema): Payload {
  const original = commented(schema['$comment']);
  if (original !== undefined) {
    const read = readPayload(original);
    if (read.ok && isDeepStrictEqual(read.schema, schema)) return original as Payload;
  }
  const { properties } = schema;
  return isRecord(properties) ? Object.fromEntries(Object.entries(properties).map(([field, property]) => [field, typeOf(property)])) : {};
}

function commented(comment: unknown): Readonly<Record<string, unknown>> | undefined {
  if (typeof comment !== 'string' || !comment.startsWith(COMMENT)) return undefined;
  try {
    const payload: unknown = JSON.parse(comment.slice(COMMENT.length));
    return isRecord(payload) ? payload : undefined;
  } catch {
    return undefined;
  }
}

/** The type of a property; what may be several, or is said by keywords that EnSync has no word for, is an `object`. */
function typeOf(property: unknown): string {
  if (!isRecord(property)) return 'object';
  const { type, minimum, maximum } = property;
  const candidates = (Array.isArray(type) ? type : type === undefined ? valueTypes(property) : [type]).filter((one) => one !== 'null');
  const only: unknown = candidates.length === 1 ? candidates[0] : undefined;
  if (only === undefined) return type === 'null' ? 'null' : 'object';
  if (only === 'integer') return typeof minimum === 'number' && minimum >= INTEGER_MIN && typeof maximum === 'number' && maximum <= INTEGER_MAX ? 'integer' : 'long';
  return typeof only === 'string' && Object.hasOwn(SCHEMAS, only) ? only : 'object';
}

/** The types of the values that `const` and `enum` name. */
function valueTypes(property: Schema): readonly string[] {
  const values = 'const' in property ? [property['const']] : Array.isArray(property['enum']) ? (property['enum'] as unknown[]) : [];
  return [...new Set(values.map((value) => (value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value)))];
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
