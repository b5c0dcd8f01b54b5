import type { z } from 'zod';

import { maskUrl } from './mask.ts';
import { isSetting, type Config, type Setting, type Settings } from './settings.ts';
import { unknownNames } from './unknown-names.ts';

/** One thing wrong in the environment: the name as it is written there, and a sentence about it. */
export interface ConfigProblem {
  readonly env: string;
  readonly message: string;
}

/** The whole configuration, or everything that is wrong with it. */
export type ConfigResult<S extends Settings> =
  | { readonly ok: true; readonly config: Config<S> }
  | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

/** The environment of a process. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Longest part of a wrong value that is quoted back. */
const QUOTED_MAX_CHARACTERS = 80;

/**
 * Reads the settings from an environment. An empty text counts as unset; a malformed value is a problem and never the default;
 * an alias is read only while the own name is unset; a `CARILLON_*` name that no setting has is a problem too.
 */
export function loadConfig<S extends Settings>(settings: S, env: Environment): ConfigResult<S> {
  const problems = new Map<string, ConfigProblem>();
  const names = new Set<string>();
  const config = loadGroup(settings, (entry) => {
    for (const name of [entry.env, ...(entry.aliases ?? [])]) names.add(name);
    const reading = readSetting(entry, env);
    if (reading.ok) return reading.value;
    // Two groups may share a setting (CARILLON_DATA_DIR): its problem is told once.
    for (const problem of reading.problems) problems.set(`${problem.env}\n${problem.message}`, problem);
    return undefined;
  });
  const all = [...problems.values(), ...unknownNames(env, names)];
  return all.length === 0 ? { ok: true, config: config as Config<S> } : { ok: false, problems: all };
}

type Reading = { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly problems: readonly ConfigProblem[] };

function loadGroup(settings: Settings, read: (entry: Setting) => unknown): object {
  return Object.fromEntries(Object.entries(settings).map(([key, entry]) => [key, isSetting(entry) ? read(entry) : loadGroup(entry, read)]));
}

function readSetting(entry: Setting, env: Environment): Reading {
  const name = [entry.env, ...(entry.aliases ?? [])].find((candidate) => isSet(env[candidate]));
  const text = name === undefined ? entry.default : env[name];
  const parsed: z.ZodSafeParseResult<unknown> = entry.schema.safeParse(text);
  if (parsed.success) return { ok: true, value: parsed.data };
  if (text === undefined) return { ok: false, problems: [{ env: entry.env, message: `is required: ${entry.help}` }] };
  const given = entry.secret === true ? '' : ` (it is ${quote(maskUrl(text))})`;
  const source = name === undefined ? 'the default ' : '';
  return { ok: false, problems: parsed.error.issues.map((issue) => ({ env: name ?? entry.env, message: `${source}${issue.message}${given}` })) };
}

function isSet(text: string | undefined): boolean {
  return text !== undefined && text !== '';
}

function quote(text: string): string {
  return JSON.stringify(text.length > QUOTED_MAX_CHARACTERS ? `${text.slice(0, QUOTED_MAX_CHARACTERS)}…` : text);
}
