import { feedEntry, NO_PERMISSIONS, type AccessKey, type Workspace } from '@carillon/schemas';
import { describe, expect, it } from 'vitest';

import { definitionEntry, deviceEntry, keyEntry, roomEntry, workspaceEntry } from './entries.ts';

const at = '2026-01-02T03:04:05.000Z';
const stored = { version: 3, createdAt: at, updatedAt: at };
const key: AccessKey = {
  id: 'AbCdEfGh01234567', workspaceId: 'default', kind: 'messenger', name: 'a key', permissions: { ...NO_PERMISSIONS, send: [{ room: 'ITB-*' }] }, resources: {}, limits: { rooms: 5 },
  expiresAt: at, revokedAt: null, lastUsedAt: at, secrets: [{ createdAt: at, expiresAt: null }], publicKey: null, ...stored,
};
const hash = 'h'.repeat(43);
const workspace: Workspace = { id: 'ws_1', parentId: 'default', name: 'b', path: 'a/b', validation: 'warn', anonymousKeyId: null, allowedOrigins: ['https://rooms.example'], limits: { connections: 9 }, ...stored };

describe('entries of the feed', () => {
  it('are what the feed takes, and hold nothing else', () => {
    const entries = [
      workspaceEntry(workspace),
      keyEntry({ key, secrets: [{ hash, expiresAt: null }, { hash, expiresAt: at }] }),
      definitionEntry({ id: 'kd_1', workspaceId: 'ws_1', name: 'power', description: 'not for hubs', schema: { type: 'object' }, revision: 2, ...stored }),
      roomEntry({ id: 'rp_1', workspaceId: 'ws_1', pattern: 'ITB-*', lane: 'live', retention: { maxAgeSeconds: null, maxBytes: null }, ...stored }),
      deviceEntry({ id: 'dv_1', workspaceId: 'ws_1', room: 'ITB-1101', name: 'CP1', repeater: 'r1', address: 'ws://10.0.0.17:7101/', enabled: false, ...stored }),
    ];

    for (const entry of entries) expect(feedEntry.parse(entry)).toEqual(entry);
    expect(JSON.stringify(entries)).not.toMatch(/not for hubs|updatedAt|a key/);
  });

  it('tell a workspace by its path, under its own id', () => {
    expect(workspaceEntry(workspace)).toMatchObject({ type: 'workspace', id: 'ws_1', workspaceId: 'ws_1', path: 'a/b', validation: 'warn', limits: { connections: 9 } });
  });

  it('tell times in ms', () => {
    expect(keyEntry({ key, secrets: [{ hash, expiresAt: at }] })).toMatchObject({ expiresAtMs: Date.parse(at), secrets: [{ hash, expiresAtMs: Date.parse(at) }] });
    expect(keyEntry({ key: { ...key, expiresAt: null }, secrets: [] })).toMatchObject({ expiresAtMs: null });
  });

  it('leave out account keys and revoked ones, and keep expired ones', () => {
    expect(keyEntry({ key: { ...key, kind: 'account' }, secrets: [] })).toBeUndefined();
    expect(keyEntry({ key: { ...key, revokedAt: at }, secrets: [] })).toBeUndefined();
    expect(keyEntry({ key: { ...key, expiresAt: '2000-01-01T00:00:00.000Z' }, secrets: [] })).toBeDefined();
  });

  it('tell the revision of a definition, which its schema counts', () => {
    expect(definitionEntry({ id: 'kd_1', workspaceId: 'ws_1', name: 'power', description: '', schema: {}, revision: 7, ...stored }).version).toBe(7);
  });
});
