import { once } from 'node:events';
import { createServer } from 'node:http';

import { eventually, freePort } from '@carillon/testing';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

import { launchBrowser, openPage, shownRows } from './browser.fixture.ts';
import { startTestStandalone, stopStandalones } from './standalone.fixture.ts';

/** apt may have to bring the browser first. */
const INSTALL_TIMEOUT_MS = 10 * 60_000;
/** The browser's own lines about requests that failed while nobody answered; a script cannot keep them away. */
const OUTAGE = /^console: Failed to load resource/;

let browser: Browser;
let page: Page | undefined;

beforeAll(async () => {
  browser = await launchBrowser();
}, INSTALL_TIMEOUT_MS);
afterAll(() => browser.close());
afterEach(async () => {
  await page?.close();
  await stopStandalones();
});

const saysState = (shown: Page, state: string): Promise<void> => shown.locator(`#live[data-state=${state}]`, { hasText: state }).waitFor({ timeout: 15_000 });

describe('a page whose hub stops', () => {
  it('says so, comes back by itself, and shows that something may be missing', async () => {
    const port = await freePort();
    const first = await startTestStandalone({ port });
    const opened = await openPage(browser, first.url);
    page = opened.page;
    await first.post('ITB-1101', { value: 'before' });
    await page.locator('#events tr').waitFor();

    await first.stop();
    await saysState(page, 'away');
    await page.getByText('the hub does not answer').waitFor();
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByText('The hub does not answer.').waitFor();

    const second = await startTestStandalone({ port, demo: false });
    await saysState(page, 'live');
    await second.post('ITB-1101', { value: 'after' });
    await eventually(async () => {
      const rows = await shownRows(page as Page, '#events');
      expect(rows.map((row) => row[3] ?? row[0])).toEqual(['after', expect.stringMatching(/^The connection was away for \d+ s; what passed meanwhile is not shown\.$/), 'before']);
    });
    expect(opened.faults.filter((fault) => !OUTAGE.test(fault))).toEqual([]);
  });

  it('comes back although it was cut and then refused, which ends a tail for good', async () => {
    const port = await freePort();
    const first = await startTestStandalone({ port });
    page = (await openPage(browser, first.url)).page;
    await first.stop();
    let asked = 0;
    const standIn = createServer((req, res) => {
      res.setHeader('connection', 'close');
      if (req.url === '/rooms/*/events') asked += 1;
      if (req.url === '/rooms/*/events' && asked === 1) res.writeHead(200, { 'content-type': 'text/event-stream' }).end('retry: 10\nevent: error\ndata: {"code":"PEER_SLOW","title":"…"}\n\n');
      else res.writeHead(503).end();
    }).listen(port, '127.0.0.1');
    await page.getByText('The hub cut this page off: PEER_SLOW.').waitFor({ timeout: 15_000 });
    await eventually(() => asked >= 3, { what: 'the page to try again after a refusal' });
    await saysState(page, 'away');
    standIn.closeAllConnections();
    standIn.close();
    await once(standIn, 'close');

    await startTestStandalone({ port });
    await saysState(page, 'live');
  });
});
