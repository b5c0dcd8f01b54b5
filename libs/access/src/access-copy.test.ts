import { feedKey, NO_PERMISSIONS, type FeedEntry, type FeedRecord } from '@carillon/schemas';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

import { AccessCopy, createAccessKey, hashAccessKey, openPrincipal } from './index.ts';
import { CopyFixture, definitionEntry, keyEntry, principalOf, workspaceEntry } from './records.fixture.ts';

const invalid = { ok: false, code: 'ACCESS_KEY_INVALID' };
const expired = { ok: false, code: 'ACCESS_KEY_EXPIRED' };
const room = (id: string, workspaceId = 'w1'): FeedEntry => ({ type: 'room', id, workspaceId, pattern: 'ITB-*', lane: 'live', retention: { maxAgeSeconds: null, maxBytes: null } });
const device = (id: string): FeedEntry => ({ type: 'device', id, workspaceId: 'w1', room: 'ITB-1', name: 'CP1', repeater: 'r1', address: 'ws://10.0.0.1/x', enabled: true });

describe('authenticating', () => {
  it('takes the key itself and nothing near it', () => {
    const held = new CopyFixture();
    const { key, id } = held.key();
    const { key: other } = createAccessKey();
    const forged = `ck_${id}_${other.slice(-43)}`;
    expect(held.copy.authenticate(key)).toMatchObject({ ok: true, principal: { keyId: id, workspaceId: 'w1', kind: 'messenger', status: 'valid' } });
    for (const text of [forged, other, '', key.slice(0, -1), `${key} `, hashAccessKey(key)]) expect(held.copy.authenticate(text)).toEqual(invalid);
    expect(new CopyFixture().copy.authenticate(key)).toEqual(invalid);
  });

  it('takes both secrets while rotating, and the one before until its time', () => {
    const fixture = new CopyFixture();
    const { key, id, hash, entry } = fixture.key();
    const next = `ck_${id}_${createAccessKey().key.slice(-43)}`;
    fixture.put({ ...entry, secrets: [{ hash: hashAccessKey(next), expiresAtMs: null }, { hash, expiresAtMs: fixture.nowMs + 1_000 }] });
    expect(principalOf(fixture.copy, next)).toBe(principalOf(fixture.copy, key));
    fixture.nowMs += 1_000;
    expect(fixture.copy.authenticate(key)).toEqual(invalid);
    expect(fixture.copy.authenticate(next)).toMatchObject({ ok: true });
  });

  it('tells when the secret that somebody came with has ended', () => {
    const fixture = new CopyFixture();
    const { key, id, hash, entry } = fixture.key();
    const next = `ck_${id}_${createAccessKey().key.slice(-43)}`;
    const known = fixture.copy.authenticate(key);
    if (!known.ok) throw new Error(known.code);
    const told: string[] = [];
    fixture.copy.onChange((change) => void told.push(change.type));
    fixture.put({ ...entry, secrets: [{ hash: hashAccessKey(next), expiresAtMs: null }, { hash, expiresAtMs: fixture.nowMs + 1_000 }] });
    expect([known.principal.accepts(known.secret), told]).toEqual([true, ['principal']]);
    fixture.nowMs += 999;
    fixture.copy.expire();
    expect([known.principal.accepts(known.secret), told.length]).toEqual([true, 1]);
    fixture.nowMs += 1;
    fixture.copy.expire();
    expect([known.principal.accepts(known.secret), known.principal.accepts(hashAccessKey(next)), known.principal.status]).toEqual([false, true, 'valid']);
    fixture.copy.expire();
    expect(told).toEqual(['principal', 'principal']);
  });

  it('is told of an end again after a clock that ran ahead was put right', () => {
    const fixture = new CopyFixture();
    const { key, entry } = fixture.key({ expiresAtMs: fixture.nowMs + 1_000 });
    const next = `ck_${entry.id}_${createAccessKey().key.slice(-43)}`;
    fixture.put({ ...entry, secrets: [{ hash: hashAccessKey(next), expiresAtMs: null }, { hash: hashAccessKey(key), expiresAtMs: fixture.nowMs + 500 }] });
    const principal = principalOf(fixture.copy, key);
    fixture.nowMs += 60_000;
    fixture.copy.expire();
    expect([principal.status, principal.accepts(hashAccessKey(key))]).toEqual(['expired', false]);
    fixture.nowMs -= 60_000;
    expect(principalOf(fixture.copy, key)).toBe(principal);
    expect([principal.status, principal.accepts(hashAccessKey(key))]).toEqual(['valid', true]);
    fixture.changes.length = 0;
    fixture.nowMs += 500;
    fixture.copy.expire();
    expect([principal.status, principal.accepts(hashAccessKey(key))]).toEqual(['valid', false]);
    fixture.nowMs += 500;
    fixture.copy.expire();
    expect([principal.status, fixture.changes.length]).toEqual(['expired', 2]);
  });

  it('keeps counting for whoever stands for a workspace that was forgotten and came again', () => {
    const fixture = new CopyFixture();
    fixture.put(workspaceEntry('w1', { createdAtMs: 1_000 }));
    const anybody = openPrincipal('w1', 'messenger', fixture.copy);
    expect(anybody.meter.connect()).toBeUndefined();
    expect(fixture.put(workspaceEntry('w1', { createdAtMs: 2_000, limits: { connections: 2 } }))).toBe('anew');
    expect([anybody.meter.connect(), anybody.meter.connect()]).toEqual([undefined, 'CONNECTION_LIMIT_REACHED']);
    const { principal } = fixture.key();
    expect(principal().meter.connect()).toBe('CONNECTION_LIMIT_REACHED');
  });

  it('forgets everything when the installation is another, and ignores an earlier one', () => {
    const fixture = new CopyFixture();
    fixture.put(workspaceEntry('w1', { createdAtMs: 1_000 }));
    const { key, entry } = fixture.key();
    const principal = principalOf(fixture.copy, key);
    const other = fixture.key({ workspaceId: 'w2' });
    expect(fixture.copy.apply('w1.workspace.w1', { seq: 99, entry: workspaceEntry('w1', { createdAtMs: 999 }) })).toBe(false);
    expect(fixture.copy.apply('w1.workspace.w1', { seq: 1, entry: workspaceEntry('w1', { createdAtMs: 1_001 }) })).toBe('anew');
    expect([principal.status, fixture.copy.seq, [...fixture.copy.records()].map(([place]) => place)]).toEqual(['revoked', 1, ['w1.workspace.w1']]);
    for (const gone of [key, other.key]) expect(fixture.copy.authenticate(gone)).toEqual(invalid);
    fixture.copy.apply(feedKey(entry), { seq: 2, entry });
    expect(principalOf(fixture.copy, key)).not.toBe(principal);
  });

  it('says that a key has expired only to who has the secret', () => {
    const fixture = new CopyFixture();
    const { key, id } = fixture.key({ expiresAtMs: fixture.nowMs });
    expect(fixture.copy.authenticate(key)).toEqual(expired);
    expect(fixture.copy.authenticate(`ck_${id}_${createAccessKey().key.slice(-43)}`)).toEqual(invalid);
  });

  it.each([[[]], [[{ hash: '_'.repeat(43), expiresAtMs: null }]], [[{ hash: 'A'.repeat(43), expiresAtMs: null }]]])('takes no key whose secrets are %j', (secrets) => {
    const fixture = new CopyFixture();
    expect(fixture.copy.authenticate(fixture.key({ secrets }).key)).toEqual(invalid);
  });

  it('takes no key before its workspace is known, nor after its end', () => {
    const fixture = new CopyFixture();
    const made = createAccessKey();
    fixture.put(keyEntry(made));
    expect(fixture.copy.authenticate(made.key)).toEqual(invalid);
    fixture.put(workspaceEntry('w1'));
    const principal = principalOf(fixture.copy, made.key);
    fixture.remove(workspaceEntry('w1'));
    expect([fixture.copy.authenticate(made.key), principal.status]).toEqual([invalid, 'revoked']);
    fixture.put(workspaceEntry('w1'));
    expect(principalOf(fixture.copy, made.key)).not.toBe(principal);
    expect(principal.status).toBe('revoked');
  });
});

describe('a principal', () => {
  it('is one object a key, and changes in place', () => {
    const fixture = new CopyFixture();
    const { entry, principal } = fixture.key();
    const [one, before] = [principal(), principal().permissions];
    expect(one.permissions).toBe(before);
    fixture.put({ ...entry, permissions: NO_PERMISSIONS, limits: { connections: 3 } });
    expect(principal()).toBe(one);
    expect([one.permissions === before, one.permissions.decide('send', 'x'), one.limits]).toEqual([false, 'deny', { connections: 3 }]);
    expect(fixture.changes).toContainEqual({ type: 'principal', principal: one });
  });

  it('ends with its key, and one that comes back is another', () => {
    const fixture = new CopyFixture();
    const { entry, key, principal } = fixture.key();
    const first = principal();
    fixture.remove(entry);
    expect([first.status, fixture.copy.authenticate(key)]).toEqual(['revoked', invalid]);
    expect(fixture.changes.at(-1)).toEqual({ type: 'principal', principal: first });
    fixture.put(entry);
    expect([principal() === first, first.status, principal().status]).toEqual([false, 'revoked', 'valid']);
  });

  it('ends when its key changes its kind', () => {
    const fixture = new CopyFixture();
    const { entry, principal } = fixture.key();
    const first = principal();
    fixture.put({ ...entry, kind: 'repeater' });
    expect([first.status, principal().kind]).toEqual(['revoked', 'repeater']);
  });

  it('ends when its key goes to another workspace, in whatever order that is heard', () => {
    for (const order of [[0, 1], [1, 0]]) {
      const fixture = new CopyFixture();
      const made = createAccessKey();
      const [here, there] = [keyEntry(made), keyEntry(made, { workspaceId: 'w2' })];
      fixture.put(workspaceEntry('w1'));
      fixture.put(workspaceEntry('w2'));
      fixture.copy.apply(feedKey(here), { seq: 10, entry: here });
      const first = principalOf(fixture.copy, made.key);
      const records = [[feedKey(there), { seq: 12, entry: there }], [feedKey(here), { seq: 11, entry: null }]] as const;
      for (const at of order) fixture.copy.apply(...(records[at] as readonly [string, FeedRecord]));
      expect([first.status, principalOf(fixture.copy, made.key).workspaceId]).toEqual(['revoked', 'w2']);
      fixture.copy.apply(feedKey(there), { seq: 13, entry: null });
      expect(fixture.copy.authenticate(made.key)).toEqual(invalid);
    }
  });

  it('does not go to a workspace that claims its key with an older record', () => {
    const fixture = new CopyFixture();
    const { principal, entry } = fixture.key();
    fixture.put(workspaceEntry('w2'));
    const first = principal();
    fixture.copy.apply('w2.key.' + entry.id, { seq: 1, entry: { ...entry, workspaceId: 'w2' } });
    expect([principal() === first, first.status, first.workspaceId]).toEqual([true, 'valid', 'w1']);
  });

  it('expires in its second, is told once, and is valid again when its time is put off', () => {
    const fixture = new CopyFixture();
    const { entry, key, principal } = fixture.key({ expiresAtMs: fixture.nowMs + 1_000 });
    const one = principal();
    const told = () => fixture.changes.filter((change) => change.type === 'principal').length;
    fixture.copy.expire();
    fixture.nowMs += 999;
    fixture.copy.expire();
    expect([one.status, told()]).toEqual(['valid', 0]);
    fixture.nowMs += 1;
    expect(fixture.copy.authenticate(key)).toEqual(expired);
    fixture.copy.expire();
    fixture.copy.expire();
    expect([one.status, told()]).toEqual(['expired', 1]);
    fixture.put({ ...entry, expiresAtMs: fixture.nowMs + 5 });
    expect([one.status, told(), principal() === one]).toEqual(['valid', 2, true]);
    fixture.nowMs += 5;
    fixture.copy.expire();
    expect(one.status).toBe('expired');
    fixture.put({ ...entry, expiresAtMs: null });
    fixture.nowMs += 1e12;
    fixture.copy.expire();
    expect(one.status).toBe('valid');
  });

  it('is expired at once when its time is put before now', () => {
    const fixture = new CopyFixture();
    const { entry, principal } = fixture.key();
    const one = principal();
    fixture.put({ ...entry, expiresAtMs: 1 });
    expect([one.status, fixture.changes.at(-1)]).toEqual(['expired', { type: 'principal', principal: one }]);
  });

  it('expires after those before it, among many', () => {
    const fixture = new CopyFixture();
    const due = [5, 1, 3, 3, 2].map((after) => ({ after, principal: fixture.key({ expiresAtMs: fixture.nowMs + after }).principal() }));
    for (let passed = 1; passed <= 5; passed += 1) {
      fixture.nowMs += 1;
      fixture.copy.expire();
      for (const { after, principal } of due) expect(principal.status).toBe(after <= passed ? 'expired' : 'valid');
    }
  });

  it('costs nothing to watch while none is due', () => {
    const fixture = new CopyFixture();
    for (let made = 0; made < 20_000; made += 1) fixture.key({ expiresAtMs: fixture.nowMs + 1_000_000 }).principal();
    const startedMs = performance.now();
    for (let second = 0; second < 10_000; second += 1) fixture.copy.expire();
    expect(performance.now() - startedMs).toBeLessThan(200);
  });
});

describe('whoever presents no key', () => {
  it('is the workspace\'s anonymous key, if it names one that is valid', () => {
    const fixture = new CopyFixture();
    const { id, entry, principal } = fixture.key();
    expect(fixture.copy.anonymous('w1')).toBeUndefined();
    fixture.put(workspaceEntry('w1', { anonymousKeyId: id }));
    expect(fixture.copy.anonymous('w1')).toBe(principal());
    fixture.put({ ...entry, expiresAtMs: fixture.nowMs });
    expect(fixture.copy.anonymous('w1')).toBeUndefined();
    fixture.put(entry);
    expect(fixture.copy.anonymous('w1')).toBe(principal());
    fixture.remove(entry);
    expect(fixture.copy.anonymous('w1')).toBeUndefined();
  });

  it('is nobody where the key named is unknown, another workspace\'s, or the workspace is gone', () => {
    const fixture = new CopyFixture();
    const { id } = fixture.key({ workspaceId: 'w2' });
    fixture.put(workspaceEntry('w1', { anonymousKeyId: id }));
    fixture.put(workspaceEntry('w3', { anonymousKeyId: 'nobody' }));
    fixture.put(workspaceEntry('w2', { anonymousKeyId: id }));
    expect(fixture.copy.anonymous('w2')).toBeDefined();
    fixture.remove(workspaceEntry('w2'));
    expect(['w1', 'w2', 'w3', 'w4'].map((workspace) => fixture.copy.anonymous(workspace))).toEqual([undefined, undefined, undefined, undefined]);
  });
});

describe('a record', () => {
  it('counts if it is the newest of its thing, however often and in whatever order', () => {
    const made = createAccessKey();
    const seqs = [1, 2, 3, 4, 5, 6];
    const record = (seq: number): readonly [string, FeedRecord] => {
      const entry = keyEntry(made, { limits: { connections: seq } });
      if (seq === 1) return ['w1.workspace.w1', { seq, entry: workspaceEntry('w1') }];
      return [feedKey(entry), { seq, entry: seq === 4 ? null : entry }];
    };
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...seqs), { maxLength: 12 }), (some) => {
        const fixture = new CopyFixture();
        for (const seq of [...some, 1, 6, ...some]) fixture.copy.apply(...record(seq));
        expect(principalOf(fixture.copy, made.key).limits).toEqual({ connections: 6 });
        expect([fixture.copy.seq, fixture.records().length]).toEqual([6, 2]);
      }),
      { numRuns: 500 },
    );
  });

  it('that is not newer changes nothing and says so', () => {
    const fixture = new CopyFixture();
    expect([fixture.put(room('r1')), fixture.copy.apply('w1.room.r1', { seq: 1, entry: null }), fixture.copy.rooms('w1').length]).toEqual([true, false, 1]);
    expect(fixture.changes).toHaveLength(1);
  });

  it('does not bring back what is gone', () => {
    const fixture = new CopyFixture();
    const { entry, key } = fixture.key();
    fixture.copy.apply(feedKey(entry), { seq: 9, entry: null });
    expect([fixture.copy.apply(feedKey(entry), { seq: 8, entry }), fixture.copy.authenticate(key)]).toEqual([false, invalid]);
  });

  it.each([
    ['w2.key.ID', {}], ['w1.key.other', {}], ['w1.room.ID', {}], ['w1.key.ID', { workspaceId: 'w2' }], ['w1.key.ID.x', {}], ['w1.key', {}], ['', {}], ['w1.thing.ID', {}],
  ])('whose entry is not %s is ignored', (pattern, more) => {
    const fixture = new CopyFixture();
    const { key, id, entry } = fixture.key();
    const before = fixture.records();
    expect(fixture.copy.apply(pattern.replace('ID', id), { seq: 99, entry: { ...entry, permissions: NO_PERMISSIONS, ...more } })).toBe(false);
    expect([fixture.records(), fixture.copy.seq, fixture.copy.authenticate(key).ok]).toEqual([before, 2, true]);
    expect(fixture.lines.map(({ level }) => level)).toEqual(['warn']);
  });

  it('is heard of whether anybody holds what it changes or not', () => {
    const fixture = new CopyFixture();
    const heard: string[] = [];
    const stop = fixture.copy.onRecord((key, { seq }) => heard.push(`${seq} ${key}`));
    fixture.put(workspaceEntry('w1'));
    fixture.put(room('r1'));
    fixture.copy.apply('w1.room.r1', { seq: 1, entry: null });
    stop();
    stop();
    fixture.remove(room('r1'));
    expect(heard).toEqual(['1 w1.workspace.w1', '2 w1.room.r1']);
  });
});

describe('what is looked up', () => {
  it('is a workspace, its rooms, its devices, and the same lists until they change', () => {
    const fixture = new CopyFixture();
    fixture.put(workspaceEntry('w1', { validation: 'warn' }));
    fixture.put(room('r1'));
    fixture.put(room('r2'));
    fixture.put(device('d1'));
    const rooms = fixture.copy.rooms('w1');
    expect([fixture.copy.workspace('w1')?.validation, fixture.copy.workspace('w2'), rooms.map(({ id }) => id), fixture.copy.devices('w1').map(({ id }) => id), fixture.copy.rooms('w2')]).toEqual(['warn', undefined, ['r1', 'r2'], ['d1'], []]);
    expect(fixture.copy.rooms('w1')).toBe(rooms);
    fixture.remove(room('r1'));
    expect([fixture.copy.rooms('w1').map(({ id }) => id), rooms.length]).toEqual([['r2'], 2]);
    expect(fixture.changes.map(({ type }) => type)).toEqual(['workspace', 'room', 'room', 'device', 'room']);
  });

  it('is a definition by name, compiled again only for another revision', () => {
    const fixture = new CopyFixture();
    const entry = definitionEntry({ required: ['value'] });
    fixture.put(entry);
    const check = fixture.copy.definition('w1', 'power');
    expect(check?.check(Buffer.from('{}'))).toMatchObject({ ok: false });
    fixture.put(entry);
    expect(fixture.copy.definition('w1', 'power')).toBe(check);
    fixture.put({ ...entry, version: 2, schema: {} });
    expect(fixture.copy.definition('w1', 'power')?.check(Buffer.from('{}'))).toEqual({ ok: true });
    fixture.put({ ...entry, version: 2, name: 'volume' });
    expect([fixture.copy.definition('w1', 'power'), fixture.copy.definition('w2', 'volume')]).toEqual([undefined, undefined]);
    fixture.remove(entry);
    expect(fixture.copy.definition('w1', 'volume')).toBeUndefined();
  });

  it('is the later of two definitions of one name', () => {
    const fixture = new CopyFixture();
    fixture.put(definitionEntry({}, { id: 'd2' }));
    fixture.put(definitionEntry({ required: ['value'] }));
    expect(fixture.copy.definition('w1', 'power')?.check(Buffer.from('{}')).ok).toBe(false);
    fixture.remove(definitionEntry({}));
    expect(fixture.copy.definition('w1', 'power')?.check(Buffer.from('{}')).ok).toBe(true);
  });

  it('is the records of one workspace or of all, tombstones too', () => {
    const fixture = new CopyFixture();
    fixture.put(workspaceEntry('w1'));
    fixture.put(workspaceEntry('w2'));
    fixture.remove(room('r1', 'w2'));
    expect([...fixture.copy.records('w2')].map(([key, { seq, entry }]) => [key, seq, entry === null])).toEqual([['w2.workspace.w2', 2, false], ['w2.room.r1', 3, true]]);
    expect([fixture.records().length, [...fixture.copy.records('w3')]]).toEqual([3, []]);
  });
});

describe('listeners', () => {
  it('hear after everything is in place, and one that throws keeps nobody from hearing', () => {
    const fixture = new CopyFixture();
    const { entry, key, principal } = fixture.key();
    principal();
    const seen: unknown[] = [];
    const stop = fixture.copy.onChange(() => { throw new Error('broken'); });
    fixture.copy.onChange((change) => seen.push(change.type, fixture.copy.authenticate(key).ok));
    fixture.remove(entry);
    expect([seen, fixture.lines.map(({ text }) => text)]).toEqual([['principal', false], ['A listener to access changes threw']]);
    stop();
    fixture.put(workspaceEntry('w1'));
    expect(fixture.lines).toHaveLength(1);
  });

  it('hear of every principal of a workspace that ends, and of no other', () => {
    const fixture = new CopyFixture();
    const gone = [fixture.key().principal(), fixture.key().principal()];
    const other = fixture.key({ workspaceId: 'w2' }).principal();
    fixture.changes.length = 0;
    fixture.remove(workspaceEntry('w1'));
    expect(fixture.changes).toEqual([{ type: 'workspace', workspaceId: 'w1' }, ...gone.map((principal) => ({ type: 'principal', principal }))]);
    expect([...gone, other].map(({ status }) => status)).toEqual(['revoked', 'revoked', 'valid']);
  });
});

describe('tombstones', () => {
  it('are kept, the newest 10,000 of them, and their workspaces go with the last', () => {
    const copy = new AccessCopy({ now: () => 0 });
    const count = 40_000;
    for (let seq = 1; seq <= count; seq += 1) copy.apply(`w${seq}.room.r`, { seq, entry: null });
    const kept = [...copy.records()].map(([, { seq }]) => seq);
    expect(kept.length).toBeLessThanOrEqual(11_000);
    expect(kept).toEqual(Array.from({ length: kept.length }, (_, at) => count - kept.length + 1 + at));
    expect(copy.seq).toBe(count);
  });

  it('make way for what comes back', () => {
    const copy = new AccessCopy({ now: () => 0 });
    copy.apply('w1.room.r', { seq: 1, entry: null });
    copy.apply('w1.room.r', { seq: 2, entry: room('r') });
    for (let seq = 3; seq < 30_000; seq += 1) copy.apply(`w2.room.r${seq}`, { seq, entry: null });
    expect(copy.rooms('w1')).toHaveLength(1);
    expect([...copy.records('w1')]).toHaveLength(1);
  });
});
