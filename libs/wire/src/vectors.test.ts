import { readFileSync } from 'node:fs';

import { describe, expect, it } from 'vitest';

import {
  decodeRoom, DEFAULT_LIMITS, encodeFrame, formatCloseReason, formatControl, formatSubscriptionChange, formatTagFields, matchesPattern, mayComeBack, parseCloseReason, parseControl,
  parseFrame, parseSubscriptionChange, parseTagFields, patternFault, patternSubject, roomFault, roomSubject, splitFrame,
  type ControlFrame, type ErrorCode, type SubscriptionChange, type TagFields, type WireLimits, type WireVersion,
} from './index.ts';

/** The files of testdata/ in the shapes that its README gives them: an implementation in another language reads the same. */
interface FrameVector { readonly about: string; readonly version: WireVersion; readonly frame: string; readonly limits?: Partial<WireLimits>; readonly room?: string; readonly fields?: TagFields; readonly body?: string; readonly code?: string }
interface TagLineVectors { readonly good: readonly { text: string; fields: TagFields }[]; readonly skipped: readonly { text: string; fields: TagFields }[]; readonly bad: readonly { text: string }[] }
interface RoomVector { readonly bytes: string; readonly room?: string; readonly fault?: string }
interface PatternVectors { readonly valid: readonly { pattern: string }[]; readonly invalid: readonly { pattern: string; fault: string }[]; readonly matches: readonly { pattern: string; room: string; match: boolean }[] }
interface SubjectVectors { readonly rooms: readonly { room: string; subject: string }[]; readonly patterns: readonly { pattern: string; subject: string }[] }
interface TextVector { readonly text: string; readonly limits?: Partial<WireLimits>; readonly code: string }
interface ControlVectors { readonly good: readonly { text: string; frame: ControlFrame }[]; readonly bad: readonly TextVector[] }
interface ChangeVectors { readonly good: readonly { text: string; change: SubscriptionChange }[]; readonly bad: readonly TextVector[] }
interface CloseVectors {
  readonly ours: readonly { text: string; code: ErrorCode; retryAfterMs: number | null }[];
  readonly foreign: readonly { text: string }[];
  readonly comeBack: readonly { close: number; comeBack: boolean }[];
}

const read = <T>(name: string): T => JSON.parse(readFileSync(new URL(`../testdata/${name}.json`, import.meta.url), 'utf8')) as T;
const bytesOf = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex, 'hex'));
const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const limitsOf = (vector: { readonly limits?: Partial<WireLimits> }): WireLimits => ({ ...DEFAULT_LIMITS, ...vector.limits });

describe('frames', () => {
  const vectors = read<FrameVector[]>('frames');

  it.each(vectors.filter(({ code }) => code === undefined))('v$version: $about', ({ version, frame, room, fields, body, ...rest }) => {
    const bytes = bytesOf(frame);
    const parsed = parseFrame(bytes, version, limitsOf(rest));
    expect(parsed).toMatchObject({ ok: true, room });
    expect(parsed.ok && parsed.fields).toEqual(fields);
    expect(parsed.ok && hexOf(parsed.body)).toBe(body);
    const split = splitFrame(bytes, version, limitsOf(rest));
    expect(split).toMatchObject({ ok: true, room });
    expect(split.ok && hexOf(bytes.subarray(split.tagEnd + 1))).toBe(body);
  });

  it.each(vectors.filter(({ code }) => code !== undefined))('v$version: $about is $code', ({ version, frame, code, ...rest }) => {
    expect(parseFrame(bytesOf(frame), version, limitsOf(rest))).toMatchObject({ ok: false, code });
    // Routing does not look at the fields; everything else it refuses with the same code.
    const split = splitFrame(bytesOf(frame), version, limitsOf(rest));
    if (!split.ok) expect(split.code).toBe(code);
    else expect(code).toBe('TAG_LINE_INVALID');
  });

  it.each(vectors.filter(({ code, about }) => code === undefined && !/unknown|largest/.test(about)))('v$version: $about, built again', ({ frame, room, fields, body }) => {
    expect(hexOf(encodeFrame(room ?? '', bytesOf(body ?? ''), formatTagFields(fields ?? {})))).toBe(frame);
  });
});

describe('tag lines', () => {
  const vectors = read<TagLineVectors>('tag-lines');

  it.each(vectors.good)('take $text and write it again', ({ text, fields }) => {
    expect(parseTagFields(text)).toEqual({ ok: true, fields });
    expect(formatTagFields(fields)).toBe(`\t${text}`);
  });
  it.each(vectors.skipped)('read $text', ({ text, fields }) => expect(parseTagFields(text)).toEqual({ ok: true, fields }));
  it.each(vectors.bad)('refuse $text', ({ text }) => expect(parseTagFields(text)).toMatchObject({ ok: false }));
});

describe('rooms', () => {
  const vectors = read<RoomVector[]>('rooms');

  it.each(vectors.filter(({ room }) => room !== undefined))('take $room', ({ bytes, room }) => {
    expect(decodeRoom(bytesOf(bytes))).toEqual({ ok: true, room });
    expect(roomFault(room ?? '')).toBeUndefined();
  });
  it.each(vectors.filter(({ fault }) => fault !== undefined))('refuse $bytes: $fault', ({ bytes, fault }) => expect(decodeRoom(bytesOf(bytes))).toEqual({ ok: false, fault }));
});

describe('patterns', () => {
  const vectors = read<PatternVectors>('patterns');

  it.each(vectors.valid)('take $pattern', ({ pattern }) => expect(patternFault(pattern)).toBeUndefined());
  it.each(vectors.invalid)('refuse $pattern: $fault', ({ pattern, fault }) => expect(patternFault(pattern)).toBe(fault));
  it.each(vectors.matches)('$pattern selects $room: $match', ({ pattern, room, match }) => {
    expect(patternFault(pattern)).toBeUndefined();
    expect(roomFault(room)).toBeUndefined();
    expect(matchesPattern(pattern, room)).toBe(match);
  });
});

describe('subjects', () => {
  const vectors = read<SubjectVectors>('subjects');

  it.each(vectors.rooms)('room $room is $subject', ({ room, subject }) => expect(roomSubject(room)).toBe(subject));
  it.each(vectors.patterns)('pattern $pattern is $subject', ({ pattern, subject }) => expect(patternSubject(pattern)).toBe(subject));
});

describe('control frames', () => {
  const vectors = read<ControlVectors>('control-frames');

  it.each(vectors.good)('take $text', ({ text, frame }) => {
    expect(parseControl(text)).toEqual({ ok: true, frame });
    expect(parseControl(formatControl(frame))).toEqual({ ok: true, frame });
  });
  it.each(vectors.bad)('refuse $text: $code', ({ text, code, ...rest }) => expect(parseControl(text, limitsOf(rest))).toMatchObject({ ok: false, code }));
});

describe('subscription changes', () => {
  const vectors = read<ChangeVectors>('subscription-changes');

  it.each(vectors.good)('take $text', ({ text, change }) => {
    expect(parseSubscriptionChange(text)).toEqual({ ok: true, change });
    expect(parseSubscriptionChange(formatSubscriptionChange(change))).toEqual({ ok: true, change });
  });
  it.each(vectors.bad)('refuse $text: $code', ({ text, code, ...rest }) => expect(parseSubscriptionChange(text, limitsOf(rest))).toMatchObject({ ok: false, code }));
});

describe('close reasons', () => {
  const vectors = read<CloseVectors>('close-reasons');

  it.each(vectors.ours)('$text', ({ text, code, retryAfterMs }) => {
    expect(parseCloseReason(text)).toEqual({ code, retryAfterMs: retryAfterMs ?? undefined });
    expect(formatCloseReason(code, retryAfterMs ?? undefined)).toBe(text);
  });
  it.each(vectors.foreign)('of others say nothing: $text', ({ text }) => expect(parseCloseReason(text)).toEqual({ code: undefined, retryAfterMs: undefined }));
  it.each(vectors.comeBack)('after $close a peer comes back: $comeBack', ({ close, comeBack }) => expect(mayComeBack(close)).toBe(comeBack));
});
