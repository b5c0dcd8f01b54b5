import { obtainChromium } from '@carillon/testing';
import { chromium, type Browser, type Page } from 'playwright-core';

// A real Chromium, and pages that note what they should not have done.

/** As root in a container there is no sandbox; the rest keeps the browser from calling home. */
const ARGUMENTS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'];

export async function launchBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: await obtainChromium(), headless: true, args: ARGUMENTS });
}

export interface WatchedPage {
  readonly page: Page;
  /** Console errors, uncaught errors, and requests to other hosts, as sentences. */
  readonly faults: string[];
}

export interface OpenOptions {
  readonly width?: number;
  readonly colorScheme?: 'light' | 'dark';
}

/** Opens an address and waits until the page says `live`. */
export async function openPage(browser: Browser, url: string, { width = 1_280, colorScheme = 'light' }: OpenOptions = {}): Promise<WatchedPage> {
  const page = await browser.newPage({ viewport: { width, height: 860 }, colorScheme });
  const faults: string[] = [];
  page.on('console', (line) => {
    if (line.type() === 'error' || line.type() === 'warning') faults.push(`console: ${line.text()}`);
  });
  page.on('pageerror', (error) => faults.push(`uncaught: ${error.message}`));
  page.on('request', (request) => {
    if (!request.url().startsWith(`${url}/`) && !request.url().startsWith('data:')) faults.push(`request to ${request.url()}`);
  });
  await page.goto(`${url}/`);
  await page.locator('#live[data-state=live]').waitFor();
  return { page, faults };
}

/** The cells of a table's body, row by row, as they are shown; hidden rows are left out. */
export function shownRows(page: Page, body: string): Promise<string[][]> {
  return page.locator(`${body} tr`).evaluateAll((rows) =>
    rows.filter((row) => !(row as HTMLTableRowElement).hidden).map((row) => [...(row as HTMLTableRowElement).cells].map((cell) => cell.textContent ?? '')));
}

/** Texts whose contrast to what lies behind them is below WCAG 2.2's 4.5 to 1 (1.4.3). */
export function faintTexts(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const channels = (color: string): number[] => (color.match(/[\d.]+/g) ?? []).map(Number);
    const luminance = (color: string): number => {
      const [red = 0, green = 0, blue = 0] = channels(color).map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const behind = (start: Element): string => {
      for (let at: Element | null = start; at !== null; at = at.parentElement) {
        const color = getComputedStyle(at).backgroundColor;
        if (channels(color)[3] !== 0) return color;
      }
      return 'rgb(255, 255, 255)';
    };
    const faint = [];
    for (const element of document.body.querySelectorAll<HTMLElement>('*')) {
      const text = [...element.childNodes].filter((child) => child.nodeType === Node.TEXT_NODE).map((child) => child.textContent?.trim()).join('');
      if (!(element instanceof HTMLInputElement) && (text === '' || !element.checkVisibility())) continue;
      const [one, other] = [luminance(getComputedStyle(element).color), luminance(behind(element))];
      const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
      if (contrast < 4.5) faint.push(`${element.tagName} "${text}" ${contrast.toFixed(2)}`);
    }
    return faint;
  });
}
