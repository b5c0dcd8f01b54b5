import { connect } from '@carillon/messenger';
import { eventually } from '@carillon/testing';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { faintTexts, launchBrowser, openPage, shownRows, type OpenOptions, type WatchedPage } from './browser.fixture.ts';
import { startTestStandalone, stopStandalones, type TestStandalone } from './standalone.fixture.ts';

/** apt may have to bring the browser first. */
const INSTALL_TIMEOUT_MS = 10 * 60_000;

let browser: Browser;
let standalone: TestStandalone;
let opened: WatchedPage[] = [];

beforeAll(async () => {
  browser = await launchBrowser();
}, INSTALL_TIMEOUT_MS);
afterAll(() => browser.close());

beforeEach(async () => {
  standalone = await startTestStandalone();
});

/** Whatever a test does: no error in the console, nothing asked of another host. */
afterEach(async () => {
  const faults = opened.flatMap((watched) => watched.faults);
  await Promise.all(opened.map(({ page }) => page.close()));
  opened = [];
  await stopStandalones();
  expect(faults).toEqual([]);
});

async function open(options: OpenOptions = {}): Promise<WatchedPage['page']> {
  const watched = await openPage(browser, standalone.url, options);
  opened.push(watched);
  return watched.page;
}

describe('the page', () => {
  it('says what to do while nothing has happened', async () => {
    const page = await open();
    expect(await page.title()).toBe('Carillon');
    expect(await page.locator('#no-events').innerText()).toContain(`curl ${standalone.url}/event`);
    expect(await page.locator('#no-rooms').isVisible()).toBe(true);
    expect(await page.locator('#demo').isVisible()).toBe(false);
  });

  it('shows an event, its room, and who is connected', async () => {
    const page = await open();
    expect(await standalone.post('ITB-1101', { key: 'input', value: 'hdmi1', user: 'tester', 'target-device': { deviceID: 'ITB-1101-D1' } })).toEqual({ status: 200, text: 'Processing event' });
    await page.locator('#events tr').waitFor();
    expect((await shownRows(page, '#events')).map((row) => row.slice(1))).toEqual([['ITB-1101', 'input', 'hdmi1', 'ITB-1101-D1', 'tester']]);
    expect(await page.locator('#no-events').isVisible()).toBe(false);
    await eventually(async () => expect(await shownRows(page, '#rooms')).toEqual([['ITB-1101', '1', '0']]));
    await page.locator('#peers li', { hasText: 'repeater 127.0.0.1#' }).waitFor();
    await eventually(async () => expect(await page.locator('#counts').innerText()).toMatch(/events seen\s+1[\s\S]*repeaters\s+1[\s\S]*live tails\s+1/));
  });

  it('counts a room\'s subscribers, those by pattern too, each once', async () => {
    const exact = connect(standalone.url.replace('http', 'ws'));
    const broad = connect(standalone.url.replace('http', 'ws'));
    exact.subscribe(['ITB-1101', 'ITB-*'], () => undefined);
    broad.subscribe('ITB-**', () => undefined);
    await Promise.all([exact.ready(), broad.ready()]);
    const page = await open();
    await standalone.post('ITB-1102');
    await eventually(async () => expect(await shownRows(page, '#rooms')).toEqual([['ITB-1101', '0', '2'], ['ITB-1102', '1', '2']]));
    await page.locator('#peers li', { hasText: /messenger .* hears ITB-1101, ITB-\*$/ }).waitFor();
    await Promise.all([exact.close(), broad.close()]);
  });

  it('shows what an event says as text, whatever it says', async () => {
    const page = await open();
    const value = '<img src=x onerror="window.broken = 1"><script>window.broken = 1</script>';
    await standalone.post('<b>room</b>', { key: '<i>k</i>', value, user: '<svg onload="window.broken = 1">' });
    await eventually(async () => expect((await shownRows(page, '#events'))[0]?.slice(1)).toEqual(['<b>room</b>', '<i>k</i>', value, '', '<svg onload="window.broken = 1">']));
    await eventually(async () => expect((await shownRows(page, '#rooms'))[0]?.[0]).toBe('<b>room</b>'));
    await page.getByRole('button', { name: '<b>room</b>' }).click();
    expect(await page.locator('#events *:not(tr,td), #rooms *:not(tr,td,button), #filter *').count()).toBe(0);
    expect(await page.evaluate(() => 'broken' in window)).toBe(false);
  });

  it('shows what is no v2 event, and long values cut short', async () => {
    const page = await open();
    const messenger = connect(standalone.url.replace('http', 'ws'));
    await messenger.ready();
    for (const body of ['no JSON', 'null', '{"key":1,"value":{"a":[true]}}', `{"value":"${'v'.repeat(600_000)}"}`]) await messenger.send('constructor', body);
    await eventually(async () => expect(await page.locator('#events tr').count()).toBe(4));
    expect((await shownRows(page, '#events')).map((row) => row.slice(1, 4)).reverse()).toEqual([
      ['constructor', '(not JSON)', 'no JSON'], ['constructor', '', ''], ['constructor', '1', '{"a":[true]}'], ['constructor', '', `${'v'.repeat(500)}…`],
    ]);
    expect(await shownRows(page, '#rooms')).toEqual([['constructor', '4', '0']]);
    await messenger.close();
  });

  it('keeps the latest 200 of 500 events, and counts them all', async () => {
    const page = await open();
    for (let first = 0; first < 500; first += 50) await Promise.all(Array.from({ length: 50 }, (_, at) => standalone.post('ITB-1101', { value: `${first + at}` })));
    await eventually(async () => expect(await shownRows(page, '#rooms')).toEqual([['ITB-1101', '500', '0']]));
    const values = (await shownRows(page, '#events')).map((row) => Number(row[3]));
    expect(values).toHaveLength(200);
    expect(Math.min(...values)).toBeGreaterThanOrEqual(300);
  });

  it('holds the events still while it is paused, and shows them after', async () => {
    const page = await open();
    await standalone.post('ITB-1101', { value: 'before' });
    await page.locator('#events tr').waitFor();
    await page.getByRole('button', { name: 'Pause' }).click();
    for (const value of ['one', 'two']) await standalone.post('ITB-1101', { value });
    const resume = page.getByRole('button', { name: 'Resume (2 more)' });
    await resume.waitFor();
    expect((await shownRows(page, '#events')).map((row) => row[3])).toEqual(['before']);
    await resume.click();
    await eventually(async () => expect((await shownRows(page, '#events')).map((row) => row[3])).toEqual(['two', 'one', 'before']));
    await page.getByRole('button', { name: 'Pause' }).waitFor();
  });

  it('says that a simulated building is one', async () => {
    await stopStandalones();
    standalone = await startTestStandalone({ demo: true });
    const page = await open();
    await page.getByText('Simulated building.').waitFor();
    await eventually(async () => expect((await shownRows(page, '#events')).every((row) => row[5] === 'simulated person')).toBe(true));
  });
});

describe('the form of the page', () => {
  it('sends an event that others hear', async () => {
    const page = await open();
    const listener = connect(standalone.url.replace('http', 'ws'));
    const events: unknown[] = [];
    listener.subscribe('ITB-2202', (event) => events.push(event.json()));
    await listener.ready();
    await eventually(async () => expect((await shownRows(page, '#rooms')).flat()).toContain('ITB-2202'));
    await page.getByRole('textbox', { name: 'Room' }).fill('ITB-2202');
    await page.getByRole('textbox', { name: 'Value' }).fill('off');
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByText('Sent to ITB-2202.').waitFor();
    await eventually(() => expect(events).toMatchObject([{ 'affected-room': { roomID: 'ITB-2202' }, key: 'power', value: 'off', user: 'me', 'generating-system': 'hub page' }]));
    await listener.close();
  });

  it('shows the code of a refusal', async () => {
    const page = await open();
    await page.getByRole('textbox', { name: 'Room' }).fill('*');
    await page.getByRole('button', { name: 'Send' }).click();
    await page.locator('#sent[data-state=refused]', { hasText: /^ROOM_NAME_INVALID: / }).waitFor();
    expect(await page.locator('#events tr').count()).toBe(0);
    // The browser itself writes a line for each 4xx.
    expect(opened[0]?.faults.splice(0)).toEqual(['console: Failed to load resource: the server responded with a status of 400 (Bad Request)']);
  });
});

describe('whoever uses the page', () => {
  it('can do everything with the keyboard, and keeps their place while it is redrawn', async () => {
    const page = await open();
    await standalone.post('ITB-1101');
    await standalone.post('ITB-1102');
    await eventually(async () => expect(await shownRows(page, '#rooms')).toHaveLength(2));
    await page.keyboard.press('Tab');
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Skip to the events');
    await page.getByRole('textbox', { name: 'User' }).focus();
    for (const name of ['Send', 'ITB-1101', 'ITB-1102']) {
      await page.keyboard.press('Tab');
      expect(await page.evaluate(() => document.activeElement?.textContent)).toBe(name);
    }
    await page.keyboard.press('Enter');
    expect((await shownRows(page, '#events')).map((row) => row[1])).toEqual(['ITB-1102']);
    expect(await page.getByRole('button', { name: 'ITB-1102', exact: true }).getAttribute('aria-pressed')).toBe('true');
    await standalone.post('ITB-1100');
    await eventually(async () => expect(await shownRows(page, '#rooms')).toHaveLength(3));
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('ITB-1102');
    expect(await shownRows(page, '#events')).toHaveLength(1);
    await page.getByRole('button', { name: 'show all rooms' }).press('Enter');
    expect(await shownRows(page, '#events')).toHaveLength(3);
  });

  it.each(['light', 'dark'] as const)('can read every text in %s colours', async (colorScheme) => {
    const page = await open({ colorScheme });
    await page.emulateMedia({ reducedMotion: 'reduce', colorScheme });
    expect(await faintTexts(page)).toEqual([]);
    await standalone.post('ITB-1101');
    await page.getByRole('button', { name: 'ITB-1101' }).click();
    await page.locator('#peers li').waitFor();
    await page.locator('#demo').evaluate((banner) => void banner.removeAttribute('hidden'));
    await page.locator('#live').evaluate((pill) => void pill.setAttribute('data-state', 'away'));
    await page.locator('#sent').evaluate((sent) => void Object.assign(sent, { textContent: 'X' }).setAttribute('data-state', 'refused'));
    expect(await faintTexts(page)).toEqual([]);
  });

  it('need not scroll sideways on a telephone', async () => {
    const page = await open({ width: 390 });
    await standalone.post('ITB-1101', { value: 'a value without a single blank '.replaceAll(' ', '_').repeat(8) });
    await page.locator('#events tr').waitFor();
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
    expect(await page.locator('.scroll').evaluate((box) => box.scrollWidth - box.clientWidth)).toBe(0);
  });
});
