import { Ajv2020 } from 'ajv/dist/2020.js';
import safeRegex from 'safe-regex2';

import { compileDefinition } from './compile-definition.ts';
import { compileLinearPattern } from './linear-pattern.ts';
import { allSubschemas, isKnownKeyword, isRecord, pointerStep, walkSchema, type Subschema } from './schema-walk.ts';

/*
 * What an event definition's schema may not have, so that checking an event takes time in proportion to the event whatever
 * the schema: definitions are written by those who use a workspace and run in the hub that serves all of them. Cheap
 * bounds come first, since what comes after them relies on them.
 */
export interface DefinitionFault {
  /** JSON pointer. */
  readonly pointer: string;
  readonly detail: string;
}

const FAULTS_MAX = 20;
const SIZE_MAX_BYTES = 64 * 1_024;
const DEPTH_MAX = 32;
const SUBSCHEMAS_MAX = 1_000;
/** Subschemas with every `$ref` written out: a chain of definitions that each refer twice to the next doubles at every link. */
const WRITTEN_OUT_MAX = 10_000;
/** Telling whether objects are unique compares each with each. */
const UNIQUE_ITEMS_MAX = 1_000;
const DIALECT = 'https://json-schema.org/draft/2020-12/schema';

/** What makes a schema unfit for an event definition; nothing when it is fit. Compiles it in the end, so that what is found fit does compile. */
export function definitionFaults(schema: unknown): readonly DefinitionFault[] {
  if (!isRecord(schema)) return [{ pointer: '', detail: 'must be an object' }];
  if (isDeeper(schema, DEPTH_MAX)) return [{ pointer: '', detail: `is nested more than ${DEPTH_MAX} levels deep` }];
  if (Buffer.byteLength(JSON.stringify(schema)) > SIZE_MAX_BYTES) return [{ pointer: '', detail: `is larger than ${SIZE_MAX_BYTES} bytes` }];
  const whole = walkSchema(schema) ?? { pointer: '', keywords: {}, inner: [] };
  const subschemas = allSubschemas(whole);
  if (subschemas.length > SUBSCHEMAS_MAX) return [{ pointer: '', detail: `has more than ${SUBSCHEMAS_MAX} subschemas` }];
  const faults = subschemas.flatMap(keywordFaults);
  if (faults.length === 0) faults.push(...metaschemaFaults(schema));
  if (faults.length === 0) faults.push(...referenceFaults(subschemas));
  if (faults.length === 0) faults.push(...compileFaults(schema));
  return faults.slice(0, FAULTS_MAX);
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1));
}

function keywordFaults({ pointer, keywords }: Subschema): DefinitionFault[] {
  const faults: DefinitionFault[] = [];
  const fault = (keyword: string, detail: string) => faults.push({ pointer: pointer + pointerStep(keyword), detail });
  for (const keyword of Object.keys(keywords)) if (!isKnownKeyword(keyword)) fault(keyword, 'is no keyword that definitions may have');
  const { $schema, $ref, uniqueItems, maxItems, pattern, patternProperties } = keywords;
  if ($schema !== undefined && $schema !== DIALECT && $schema !== `${DIALECT}#`) fault('$schema', `must be ${DIALECT}`);
  if (pointer !== '' && keywords['$id'] !== undefined) fault('$id', 'may stand at the top only');
  if (typeof $ref === 'string' && !$ref.startsWith('#')) fault('$ref', 'must refer to the schema itself: begin with #');
  if (uniqueItems === true && !(typeof maxItems === 'number' && maxItems <= UNIQUE_ITEMS_MAX)) fault('uniqueItems', `needs maxItems of at most ${UNIQUE_ITEMS_MAX} beside it`);
  if (typeof pattern === 'string') faults.push(...patternFaults(pattern, pointer + pointerStep('pattern')));
  if (isRecord(patternProperties)) for (const name of Object.keys(patternProperties)) faults.push(...patternFaults(name, `${pointer}/patternProperties${pointerStep(name)}`));
  return faults;
}

/** Hubs run expressions in linear time, but whoever else compiles the schema may not: what is known to run away is refused too. */
function patternFaults(pattern: string, pointer: string): DefinitionFault[] {
  const compiled = compileLinearPattern(pattern);
  if (!compiled.ok) return [{ pointer, detail: `is ${compiled.detail}` }];
  return safeRegex(pattern) ? [] : [{ pointer, detail: 'is a regular expression that can run away: it repeats a repetition, or repeats more than 25 times' }];
}

let metaschema: Ajv2020 | undefined;

/** The metaschema is compiled when it is first asked for: it takes tens of milliseconds. */
function metaschemaFaults(schema: Readonly<Record<string, unknown>>): DefinitionFault[] {
  metaschema ??= new Ajv2020({ strict: false, logger: false, validateFormats: false });
  if (metaschema.validateSchema({ ...schema, $schema: DIALECT }) === true) return [];
  return (metaschema.errors ?? []).map(({ instancePath, message = 'does not fit the metaschema' }) => ({ pointer: instancePath, detail: message }));
}

/** References must lead to subschemas of the schema and nowhere back: a schema that holds itself has no bound. */
function referenceFaults(subschemas: readonly Subschema[]): DefinitionFault[] {
  const targets = new Map<string, Subschema>();
  for (const each of subschemas) {
    targets.set(`#${each.pointer}`, each);
    if (typeof each.keywords['$anchor'] === 'string') targets.set(`#${each.keywords['$anchor']}`, each);
  }
  const faults: DefinitionFault[] = [];
  const sizes = new Map<Subschema, number | 'open'>();
  const sizeOf = (each: Subschema): number => {
    const known = sizes.get(each);
    if (known !== undefined) return known === 'open' ? Infinity : known;
    sizes.set(each, 'open');
    let size = each.inner.reduce((sum, inner) => sum + sizeOf(inner), 1);
    if (typeof each.keywords['$ref'] === 'string') size += sizeOfTarget(each, each.keywords['$ref']);
    sizes.set(each, size);
    return size;
  };
  const sizeOfTarget = (each: Subschema, $ref: string): number => {
    const target = targets.get(decoded($ref));
    if (target !== undefined && sizes.get(target) !== 'open') return sizeOf(target);
    faults.push({ pointer: `${each.pointer}/$ref`, detail: target === undefined ? 'refers to no subschema' : 'leads back to itself; recursive schemas are not taken' });
    return 0;
  };
  const [whole] = subschemas;
  if (whole !== undefined && sizeOf(whole) > WRITTEN_OUT_MAX) faults.push({ pointer: '', detail: `has more than ${WRITTEN_OUT_MAX} subschemas when its references are written out` });
  return faults;
}

function decoded($ref: string): string {
  try {
    return decodeURIComponent($ref);
  } catch {
    return $ref;
  }
}

function compileFaults(schema: Readonly<Record<string, unknown>>): DefinitionFault[] {
  try {
    compileDefinition(schema, { steps: Infinity });
    return [];
  } catch (error) {
    return [{ pointer: '', detail: `does not compile: ${error instanceof Error ? error.message.slice(0, 200) : 'unknown'}` }];
  }
}
