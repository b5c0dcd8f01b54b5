import { createHash } from 'node:crypto';

import { expect } from 'vitest';

import type { Answer } from '../config-manager.fixture.ts';

/** Of answers that show a secret once: where it stands. */
const SHOWN_ONCE = ['accessKey', 'privateKey', 'token'] as const;
/** What a database, its library or a stack trace would say. */
const INTERNALS = /prisma|postgres(?:ql)?:|\bSELECT\b.*\bFROM\b|\bINSERT INTO\b|\bviolates\b|\brelation "|\bcolumn "|\bsqlstate\b|node_modules|\.[cm]?[jt]s:\d+|\n\s+at |\bP20\d\d\b|\bECONN|TypeError|ZodError/i;

const hashOf = (text: string): string => createHash('sha256').update(text).digest('base64url');

/** Collects what was answered and what is secret, and looks for the one in the other. */
export class Leaks {
  readonly #secrets = new Set<string>();
  readonly #answers: string[] = [];

  /** Texts that no answer, log line or audit record may have, and their SHA-256, which is what the database keeps. */
  keep(...secrets: readonly string[]): void {
    for (const secret of secrets) {
      this.#secrets.add(secret).add(hashOf(secret));
      if (secret.startsWith('ck_')) this.#secrets.add(secret.slice(-43));
    }
  }

  /** Remembers an answer; what it shows once is secret from now on. */
  heard({ text, headers, body }: Answer<unknown>): void {
    let plain = text;
    for (const field of SHOWN_ONCE) {
      const shown = typeof body === 'object' && body !== null ? (body as Record<string, unknown>)[field] : undefined;
      if (typeof shown !== 'string') continue;
      this.keep(shown);
      plain = plain.replace(JSON.stringify(shown), '""');
    }
    this.#answers.push(`${[...headers].map(([name, value]) => `${name}: ${value}`).join('\n')}\n\n${plain}`);
  }

  /** Looks through all that was answered, and through `others`, which may speak of internals. */
  expectNone(others: readonly string[]): void {
    expect(this.#answers.length).toBeGreaterThan(0);
    expect(this.#secrets.size).toBeGreaterThan(0);
    expect(this.#answers.filter((answer) => INTERNALS.test(answer)).slice(0, 3), 'internals in answers').toEqual([]);
    for (const text of [...this.#answers, ...others]) for (const secret of this.#secrets) if (text.includes(secret)) expect.fail(`a secret stands in: ${text.slice(0, 2_000)}`);
  }
}
