import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { connect } from '@carillon/messenger';
import { eventually } from '@carillon/testing';
import { afterEach, describe, expect, it } from 'vitest';

import { makeDataDir, startTestStandalone, stopStandalones } from './standalone.fixture.ts';

afterEach(stopStandalones);

describe('a standalone\'s first start', () => {
  it('makes an administrator and a key, keeps them for this user alone, and shows them once', async () => {
    const dataDir = await makeDataDir();
    const first = await startTestStandalone({ dataDir });
    const { username, password = '', accessKey } = first.first ?? { username: '', accessKey: '' };
    expect(username).toBe('admin');
    for (const [file, secret] of [['admin-password', password], ['first-key', accessKey]] as const) {
      expect((await readFile(join(dataDir, file), 'utf8')).trim()).toBe(secret);
      expect((await stat(join(dataDir, file))).mode & 0o777).toBe(0o600);
    }
    const signIn = await fetch(`${first.apiUrl}/sessions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username, password }) });
    expect(signIn.status).toBe(201);
    await first.stop();
    const logs = first.logs.join('');
    for (const secret of [password, accessKey, (await readFile(join(dataDir, 'repeater-key'), 'utf8')).trim()]) expect(logs).not.toContain(secret);

    const second = await startTestStandalone({ dataDir });
    expect(second.first).toBeUndefined();
    expect((await fetch(`${second.url}/k/${accessKey}/status`)).status).toBe(200);
  });
});

describe('a standalone with keys asked for', () => {
  it('takes the first key and its own repeater, and nobody without one', async () => {
    const dataDir = await makeDataDir();
    const standalone = await startTestStandalone({ dataDir, env: { CARILLON_HUB_ACCESS: 'keys', CARILLON_REPEATER_ACCESS: 'keys' } });
    const accessKey = standalone.first?.accessKey ?? '';
    expect((await standalone.post('ITB-1101')).status).toBe(401);
    expect((await fetch(`${standalone.url}/status`)).status).toBe(401);
    const heard: string[] = [];
    const messenger = connect(standalone.url, { accessKey });
    messenger.subscribe('ITB-1101', (event) => void heard.push(event.text()));
    const panel = connect(`${standalone.repeaterUrl}/connect/ITB-1101/panel`, { accessKey, backoff: { firstMs: 20, capMs: 50 } });
    await Promise.all([messenger.ready(), panel.ready()]);
    await eventually(async () => {
      await panel.send('ITB-1101', '{"key":"power"}');
      expect(heard).toContain('{"key":"power"}');
    }, { what: 'an event of the panel' });
    await Promise.all([messenger.close(), panel.close()]);
  });

  it('takes its repeater back after somebody has revoked its key', async () => {
    const dataDir = await makeDataDir();
    const first = await startTestStandalone({ dataDir, env: { CARILLON_HUB_ACCESS: 'keys' } });
    await first.stop();
    const kept = (await readFile(join(dataDir, 'repeater-key'), 'utf8')).trim();
    const second = await startTestStandalone({ dataDir, env: { CARILLON_HUB_ACCESS: 'keys' } });
    expect((await readFile(join(dataDir, 'repeater-key'), 'utf8')).trim()).toBe(kept);
    const { token } = (await (await fetch(`${second.apiUrl}/sessions`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ username: 'admin', password: (await readFile(join(dataDir, 'admin-password'), 'utf8')).trim() }),
    })).json()) as { token: string };
    const revoked = await fetch(`${second.apiUrl}/workspaces/default/keys/${kept.split('_')[1]}`, { method: 'DELETE', headers: { authorization: `Bearer ${token}` } });
    expect(revoked.status).toBe(204);
    await second.stop();

    await startTestStandalone({ dataDir, env: { CARILLON_HUB_ACCESS: 'keys' } });
    expect((await readFile(join(dataDir, 'repeater-key'), 'utf8')).trim()).not.toBe(kept);
  });
});
