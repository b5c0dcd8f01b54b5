import { AccessCopy, createAccessKey, presentedKey } from '@carillon/access';
import { feedKey, type FeedEntry } from '@carillon/schemas';
import { describe, expect, test } from 'vitest';

import type { AccessMode } from './config.ts';
import { Gate } from './gate.ts';
import { issueKey, workspace } from './hub-stub.fixture.ts';

const NOW_MS = 1_000_000;
const anonymous = issueKey({ permissions: { receive: [{ room: '*' }] } });
const good = issueKey();
const entries: readonly FeedEntry[] = [workspace({ anonymousKeyId: anonymous.entry.id, allowedOrigins: ['https://rooms.example'] }), anonymous.entry, good.entry];

function gate(mode: AccessMode, known: readonly FeedEntry[] = entries, { onLoopback = true } = {}): Gate {
  const copy = new AccessCopy({ now: () => NOW_MS });
  for (const [index, entry] of known.entries()) copy.apply(feedKey(entry), { seq: index + 1, entry });
  return new Gate({ mode, copy, workspaceId: () => 'w1', allowedOrigins: [], onLoopback });
}

interface Given {
  readonly url?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly from?: string;
}

/** The id of the key that is let in, `everybody`, or the code of the refusal. */
function answer(at: Gate, { url = '/connect/R/D', headers = {}, from = '127.0.0.1' }: Given = {}): string {
  const admission = at.admit(presentedKey({ url, headers }), { headers, socket: { remoteAddress: from } });
  return admission.ok ? (admission.principal.keyId ?? 'everybody') : admission.code;
}

const bearer = (secret: string): Given => ({ headers: { authorization: `Bearer ${secret}` } });

describe('a key that is presented', () => {
  test.each(['keys', 'loopback', 'open'] as const)('is checked with access %s', (mode) => {
    const at = gate(mode);
    expect(answer(at, bearer(good.secret))).toBe(good.entry.id);
    expect(answer(at, bearer(createAccessKey().key))).toBe('ACCESS_KEY_INVALID');
    expect(answer(at, bearer('ck_short'))).toBe('ACCESS_KEY_INVALID');
    expect(answer(at, { url: `/k/${good.secret}/connect/R/D?key=${createAccessKey().key}` })).toBe('ACCESS_KEY_AMBIGUOUS');
  });

  test('may stand in a header, in the path or in the query', () => {
    const at = gate('keys');
    for (const given of [bearer(good.secret), { headers: { 'x-access-key': good.secret } }, { headers: { 'x-api-key': good.secret } }, { url: `/k/${good.secret}/send` }, { url: `/send?key=${good.secret}` }]) {
      expect(answer(at, given)).toBe(good.entry.id);
    }
  });

  test('opens nothing once its time is over', () => {
    const old = issueKey({ expiresAtMs: NOW_MS });
    expect(answer(gate('open', [workspace(), old.entry]), bearer(old.secret))).toBe('ACCESS_KEY_EXPIRED');
  });

  test.each([['messenger', true], ['service', true], ['repeater', true], ['hub-link', false], ['account', false]] as const)('of kind %s opens the door: %s', (kind, opens) => {
    const key = issueKey({ kind });
    expect(answer(gate('keys', [workspace(), key.entry]), bearer(key.secret))).toBe(opens ? key.entry.id : 'ACCESS_KIND_REFUSED');
  });
});

describe('without a key', () => {
  const proxied = ['forwarded', 'x-forwarded-for', 'x-real-ip'].map((name) => ({ headers: { [name]: '192.0.2.1' } }));
  const elsewhere = { from: '192.0.2.1' };

  test('everybody comes in where access is open', () => {
    for (const given of [{}, elsewhere, ...proxied]) expect(answer(gate('open'), given)).toBe('everybody');
  });

  test('only this machine comes in with access loopback, and nobody by a proxy', () => {
    const at = gate('loopback', [workspace()]);
    for (const from of ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1']) expect(answer(at, { from })).toBe('everybody');
    for (const given of [elsewhere, { from: '::ffff:192.0.2.1' }, { from: '' }, ...proxied]) expect(answer(at, given)).toBe('ACCESS_KEY_REQUIRED');
    expect(answer(gate('loopback'), elsewhere)).toBe(anonymous.entry.id);
  });

  test('the anonymous key of the workspace stands for everybody, if there is one', () => {
    expect(answer(gate('keys'))).toBe(anonymous.entry.id);
    expect(answer(gate('keys', [workspace(), anonymous.entry]))).toBe('ACCESS_KEY_REQUIRED');
    expect(answer(gate('keys', [workspace({ anonymousKeyId: 'gone' })]))).toBe('ACCESS_KEY_REQUIRED');
    expect(answer(gate('keys', []))).toBe('ACCESS_KEY_REQUIRED');
    const link = issueKey({ kind: 'hub-link' });
    expect(answer(gate('keys', [workspace({ anonymousKeyId: link.entry.id }), link.entry]))).toBe('ACCESS_KEY_REQUIRED');
  });
});

describe('a page', () => {
  const from = (origin: string, given: Given = {}): Given => ({ ...given, headers: { host: '127.0.0.1:7101', origin, ...given.headers } });

  test('may come from where its workspace says', () => {
    const at = gate('keys');
    expect(answer(at, from('https://rooms.example', bearer(good.secret)))).toBe(good.entry.id);
    expect(answer(at, from('https://rooms.example'))).toBe(anonymous.entry.id);
    expect(answer(at, from('https://other.example', bearer(good.secret)))).toBe('ORIGIN_REFUSED');
    expect(answer(gate('open'), from('https://rooms.example'))).toBe('ORIGIN_REFUSED');
  });

  test('of a name that was made to point here does not come in as this machine, wherever the repeater listens', () => {
    const headers = { 'host': 'evil.example:7101', 'user-agent': 'Mozilla/5.0' };
    expect(answer(gate('loopback', entries, { onLoopback: false }), { headers })).toBe('ORIGIN_REFUSED');
    expect(answer(gate('loopback', entries, { onLoopback: false }), { headers: { ...headers, host: 'localhost:7101' } })).toBe('everybody');
  });
});
