import { z } from 'zod';

import { maskUrl, REDACTED } from './mask.ts';

/** How one setting is written in the environment and what it means. */
export interface SettingOptions<S extends z.ZodType> {
  /** The flat name, unit included: `CARILLON_<APP>_<NAME>_<UNIT>`. */
  readonly env: string;
  /** Parses the text of the environment; it is given undefined when the setting is unset and has no default. */
  readonly schema: S;
  /** As it would be written in the environment; absent = required, unless the schema accepts undefined. */
  readonly default?: string;
  /** One sentence for docs and for the message about a missing value. */
  readonly help: string;
  /** Names of the original systems, tried in this order while the own name is unset. */
  readonly aliases?: readonly string[];
  /** Its value is never printed. */
  readonly secret?: boolean;
  readonly unit?: string;
}

/** One declared setting; made by `setting`. */
export interface Setting<S extends z.ZodType = z.ZodType> extends SettingOptions<S> {
  readonly kind: 'setting';
}

/** An app's settings, nested as its configuration shall be. */
export interface Settings {
  readonly [key: string]: Setting | Settings;
}

/** The configuration that settings give. */
export type Config<S extends Settings> = {
  readonly [K in keyof S]: S[K] extends Setting<infer T> ? z.output<T> : S[K] extends Settings ? Config<S[K]> : never;
};

/** A setting as generated docs show it; `path` is its place in the configuration, joined by dots. */
export interface SettingEntry {
  readonly path: string;
  readonly env: string;
  readonly default?: string;
  readonly help: string;
  readonly aliases: readonly string[];
  readonly secret: boolean;
  readonly unit?: string;
  readonly type: string;
}

/** Configuration made printable. */
export interface PrintableConfig {
  readonly [key: string]: unknown;
}

/** Declares a setting. */
export function setting<S extends z.ZodType>(options: SettingOptions<S>): Setting<S> {
  return { ...options, kind: 'setting' };
}

/** Tells a setting from a group of them. */
export function isSetting(entry: Setting | Settings): entry is Setting {
  return entry.kind === 'setting';
}

/** Every setting in declared order, as docs need it. */
export function listSettings(settings: Settings): readonly SettingEntry[] {
  return entriesUnder(settings, []);
}

/** The configuration with secrets replaced, and credentials inside URLs masked, for the start of a log. */
export function redactConfig<S extends Settings>(settings: S, config: Config<S>): PrintableConfig {
  return redactGroup(settings, config);
}

function entriesUnder(settings: Settings, above: readonly string[]): readonly SettingEntry[] {
  return Object.entries(settings).flatMap(([key, entry]) => {
    const path = [...above, key];
    if (!isSetting(entry)) return entriesUnder(entry, path);
    return [{
      path: path.join('.'),
      env: entry.env,
      ...(entry.default === undefined ? {} : { default: entry.default }),
      help: entry.help,
      aliases: entry.aliases ?? [],
      secret: entry.secret ?? false,
      ...(entry.unit === undefined ? {} : { unit: entry.unit }),
      type: typeOf(entry.schema),
    }];
  });
}

/** The description that the ready-made types carry, or the bare kind of a schema of the app's own; wrappers are looked through. */
function typeOf(schema: z.core.$ZodType): string {
  const description = z.globalRegistry.get(schema)?.description;
  if (description !== undefined) return description;
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) return typeOf(schema.unwrap());
  if (schema instanceof z.ZodPipe) return typeOf(schema.in);
  return schema._zod.def.type;
}

function redactGroup(settings: Settings, config: PrintableConfig): PrintableConfig {
  return Object.fromEntries(Object.entries(settings).map(([key, entry]) => {
    const value = config[key];
    if (!isSetting(entry)) return [key, redactGroup(entry, value as PrintableConfig)];
    if (entry.secret === true && value !== undefined) return [key, REDACTED];
    return [key, typeof value === 'string' ? maskUrl(value) : value];
  }));
}
