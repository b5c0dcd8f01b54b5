/** One schema inside a schema, the whole one being the first. */
export interface Subschema {
  /** JSON pointer (RFC 6901) from the whole schema. */
  readonly pointer: string;
  /** Empty for `true` and `false`. */
  readonly keywords: Readonly<Record<string, unknown>>;
  readonly inner: readonly Subschema[];
}

/** Keywords of JSON Schema 2020-12 that hold schemas: one, a list of them, or a map by name. `definitions` is the old name of `$defs`, and still in its metaschema. */
const HOLDS_SCHEMAS: Readonly<Record<string, 'one' | 'list' | 'map'>> = {
  $defs: 'map', definitions: 'map', properties: 'map', patternProperties: 'map', dependentSchemas: 'map',
  allOf: 'list', anyOf: 'list', oneOf: 'list', prefixItems: 'list',
  not: 'one', if: 'one', then: 'one', else: 'one', items: 'one', contains: 'one', additionalProperties: 'one', propertyNames: 'one',
  unevaluatedItems: 'one', unevaluatedProperties: 'one', contentSchema: 'one',
};

/** Those that hold something else. */
const HOLDS_VALUES: ReadonlySet<string> = new Set([
  '$schema', '$id', '$ref', '$anchor', '$comment', 'type', 'enum', 'const', 'multipleOf', 'maximum', 'exclusiveMaximum', 'minimum', 'exclusiveMinimum',
  'maxLength', 'minLength', 'pattern', 'maxItems', 'minItems', 'uniqueItems', 'maxContains', 'minContains', 'maxProperties', 'minProperties', 'required', 'dependentRequired',
  'title', 'description', 'default', 'deprecated', 'readOnly', 'writeOnly', 'examples', 'format', 'contentEncoding', 'contentMediaType',
]);

/** Whether a keyword is one that definitions may have; `$dynamicRef` and `$dynamicAnchor` are not among them: what they refer to depends on where one came from. */
export function isKnownKeyword(keyword: string): boolean {
  return HOLDS_VALUES.has(keyword) || Object.hasOwn(HOLDS_SCHEMAS, keyword);
}

/** Reads a schema that is known not to be deep. Where something else stands in a schema's place there is none. */
export function walkSchema(schema: unknown, pointer = ''): Subschema | undefined {
  if (typeof schema === 'boolean') return { pointer, keywords: {}, inner: [] };
  if (!isRecord(schema)) return undefined;
  const inner = Object.entries(schema).flatMap(([keyword, value]) => places(keyword, value).flatMap(([steps, held]) => walkSchema(held, `${pointer}${steps}`) ?? []));
  return { pointer, keywords: schema, inner };
}

/** The schema and all in it, outer ones first. */
export function allSubschemas(schema: Subschema): readonly Subschema[] {
  return [schema, ...schema.inner.flatMap(allSubschemas)];
}

/** RFC 6901 §3. */
export function pointerStep(name: string): string {
  return `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function places(keyword: string, value: unknown): readonly (readonly [string, unknown])[] {
  const step = pointerStep(keyword);
  const holds = Object.hasOwn(HOLDS_SCHEMAS, keyword) ? HOLDS_SCHEMAS[keyword] : undefined;
  if (holds === 'one') return [[step, value]];
  if (holds === 'list' && Array.isArray(value)) return value.map((held: unknown, index) => [`${step}/${index}`, held]);
  if (holds === 'map' && isRecord(value)) return Object.entries(value).map(([name, held]) => [`${step}${pointerStep(name)}`, held]);
  return [];
}
