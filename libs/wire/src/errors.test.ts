import { describe, expect, it } from 'vitest';

import { CarillonError, DROP_REASONS, ERRORS, type ErrorCode, type ErrorEntry } from './index.ts';

const entries = Object.entries<ErrorEntry>(ERRORS);
const closing = entries.filter(([, { close }]) => close !== undefined);
/** RFC 6455 §7.4.1 and IANA's registry: those that an endpoint may send for a reason of its own. */
const STANDARD_CLOSES = [1002, 1003, 1007, 1008, 1009, 1011, 1012, 1013];
const isOwn = (close: number): boolean => close >= 4_000 && close <= 4_999;

describe('the catalogue of refusals', () => {
  it.each(entries)('%s is well formed', (code, entry) => {
    expect(code).toMatch(/^[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+$|^[A-Z]+$/);
    expect(entry.http).toBeGreaterThanOrEqual(400);
    expect(entry.http).toBeLessThanOrEqual(599);
    expect(entry.title).toMatch(/^[A-Z].{9,}[^.]$/);
  });

  it.each(closing)('%s closes with a number that an endpoint may send', (_code, { close }) => {
    expect(STANDARD_CLOSES.includes(close ?? 0) || isOwn(close ?? 0)).toBe(true);
  });

  it.each(closing.filter(([, { close }]) => isOwn(close ?? 0)))('%s closes with a number whose range says whether to come back', (_code, { close, retryable }) => {
    expect(retryable).toBe((close ?? 0) < 4_500);
  });

  it('gives each close code of ours to one code', () => {
    const own = closing.map(([, { close }]) => close ?? 0).filter(isOwn);
    expect(own.length).toBeGreaterThan(0);
    expect(new Set(own).size).toBe(own.length);
  });

  it('gives each title to one code', () => {
    expect(new Set(entries.map(([, { title }]) => title)).size).toBe(entries.length);
  });

  it('never calls a protocol fault or a missing thing worth a retry', () => {
    expect(entries.filter(([, { kind, retryable }]) => retryable && (kind === 'protocol' || kind === 'auth' || kind === 'not-found')).map(([code]) => code)).toEqual([]);
    expect(entries.filter(([, { kind, retryable }]) => !retryable && (kind === 'unavailable' || kind === 'deadline')).map(([code]) => code)).toEqual([]);
  });

  it('answers each kind with a status of its class', () => {
    const server = ['unavailable', 'internal'];
    for (const [code, { kind, http }] of entries) if (server.includes(kind)) expect([code, http >= 500]).toEqual([code, true]);
    for (const [code, { kind, http }] of entries) if (['protocol', 'auth', 'conflict', 'not-found'].includes(kind)) expect([code, http < 500]).toEqual([code, true]);
  });
});

describe('an error', () => {
  it.each(entries.map(([code]) => code as ErrorCode))('%s carries its code, kind and advice', (code) => {
    const error = new CarillonError(code, 'why this time', { cause: 7 });
    expect(error).toMatchObject({ name: 'CarillonError', code, kind: ERRORS[code].kind, retryable: ERRORS[code].retryable, cause: 7 });
    expect(error.message).toBe(`${ERRORS[code].title}: why this time`);
    expect(new CarillonError(code).message).toBe(ERRORS[code].title);
  });
});

describe('the reasons of drops', () => {
  it.each(Object.entries(DROP_REASONS))('%s can be a metric label and says why', (reason, why) => {
    expect(reason).toMatch(/^[a-z]+(?:-[a-z]+)*$/);
    expect(why).toMatch(/^[A-Z].{9,}[^.]$/);
  });
});
