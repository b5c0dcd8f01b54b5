import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { faintTexts, launchBrowser, shownRows } from './browser.fixture.ts';
import { makeDataDir, startTestStandalone, stopStandalones, type TestStandalone } from './standalone.fixture.ts';

/** apt may have to bring the browser first. */
const INSTALL_TIMEOUT_MS = 10 * 60_000;

let browser: Browser;
let page: Page;
let standalone: TestStandalone;

beforeAll(async () => {
  browser = await launchBrowser();
}, INSTALL_TIMEOUT_MS);
afterAll(() => browser.close());
afterEach(async () => {
  await page.close();
  await stopStandalones();
});

async function openAsking(): Promise<string> {
  standalone = await startTestStandalone({ dataDir: await makeDataDir(), env: { CARILLON_HUB_ACCESS: 'keys' } });
  page = await browser.newPage();
  await page.goto(`${standalone.url}/`);
  await page.locator('#key').waitFor();
  return standalone.first?.accessKey ?? '';
}

async function give(key: string, rooms = '*'): Promise<void> {
  await page.getByLabel('Access key').fill(key);
  await page.getByRole('textbox', { name: 'Rooms' }).fill(rooms);
  await page.getByRole('button', { name: 'Use it' }).click();
}

const isLive = (): Promise<void> => page.locator('#live[data-state=live]').waitFor();
const post = (key: string, room: string): Promise<Response> =>
  fetch(`${standalone.url}/event`, { method: 'POST', headers: { authorization: `Bearer ${key}`, connection: 'close' }, body: JSON.stringify({ 'affected-room': { roomID: room }, key: 'power', value: 'on' }) });

describe('a page whose hub asks for keys', () => {
  it('asks for one, says what is wrong with it, and goes on with a good one until the tab is closed', async () => {
    const key = await openAsking();
    expect(await page.locator('#key-why').innerText()).toBe('An access key is needed here.');
    expect(await faintTexts(page)).toEqual([]);
    await give(`${key.slice(0, -1)}${key.endsWith('A') ? 'B' : 'A'}`);
    await page.getByText('The access key is malformed, unknown or not the current one.').waitFor();
    await give(key);
    await isLive();
    expect(await page.locator('#key').isVisible()).toBe(false);
    expect((await post(key, 'ITB-1101')).status).toBe(200);
    await page.locator('#events tr').waitFor();
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByText('Sent to ITB-1101.').waitFor();
    expect(await page.content()).not.toContain(key);
    await page.reload();
    await isLive();
  });

  it('hears the rooms that its key may hear', async () => {
    const first = await openAsking();
    const api = (path: string, body: unknown, token = ''): Promise<Record<string, string>> =>
      fetch(`${standalone.apiUrl}${path}`, { method: 'POST', headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', connection: 'close' }, body: JSON.stringify(body) }).then((answer) => answer.json() as Promise<Record<string, string>>);
    const { token } = await api('/sessions', { username: standalone.first?.username, password: standalone.first?.password });
    const { accessKey = '' } = await api('/workspaces/default/keys', { kind: 'messenger', name: 'page', permissions: { receive: ['ITB-*'] } }, token);
    await give(accessKey);
    await page.getByText('The key may not receive everything that this room or pattern selects.').waitFor();
    await give(accessKey, 'ITB-*');
    await isLive();
    await post(first, 'HALL-1');
    await post(first, 'ITB-7');
    await page.locator('#events tr').waitFor();
    expect((await shownRows(page, '#events')).map((row) => row[1])).toEqual(['ITB-7']);
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByText('SEND_DENIED').waitFor();
  });
});
