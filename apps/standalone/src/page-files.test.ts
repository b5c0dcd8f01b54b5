import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { startTestStandalone, stopStandalones, type TestStandalone } from './standalone.fixture.ts';

let standalone: TestStandalone;

beforeAll(async () => {
  standalone = await startTestStandalone();
});
afterAll(stopStandalones);

const call = (path: string, method = 'GET'): Promise<Response> => fetch(`${standalone.url}${path}`, { method, headers: { connection: 'close' } });

describe('the files of the page', () => {
  it.each([['/', 'text/html; charset=utf-8'], ['/page.css', 'text/css; charset=utf-8'], ['/page.js', 'text/javascript; charset=utf-8'], ['/key.js', 'text/javascript; charset=utf-8'], ['/pattern.js', 'text/javascript; charset=utf-8'], ['/page.json', 'application/json']])('%s comes as %s, and may load nothing from elsewhere', async (path, type) => {
    const answer = await call(path);
    expect(answer.status).toBe(200);
    expect(Object.fromEntries(answer.headers)).toMatchObject({ 'content-type': type, 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer', 'cache-control': 'no-cache' });
    const policy = (answer.headers.get('content-security-policy') ?? '').split('; ');
    expect(policy).toEqual(expect.arrayContaining(['default-src \'none\'', 'script-src \'self\'', 'style-src \'self\'', 'connect-src \'self\'', 'base-uri \'none\'', 'frame-ancestors \'none\'']));
    expect(policy.join()).not.toMatch(/unsafe|\*|https?:/);
    expect((await answer.text()).length).toBeGreaterThan(0);
  });

  it('answer HEAD with the same head and no body', async () => {
    const [got, asked] = [await call('/'), await call('/', 'HEAD')];
    expect(asked.status).toBe(200);
    expect(asked.headers.get('content-length')).toBe(got.headers.get('content-length'));
    expect(Number(asked.headers.get('content-length'))).toBe((await got.arrayBuffer()).byteLength);
    expect(await asked.text()).toBe('');
  });

  it('say whether the building is simulated', async () => {
    expect(await (await call('/page.json')).json()).toEqual({ demo: false });
  });

  it.each([['GET', '/nothing'], ['GET', '/page.css/'], ['GET', '/..%2fpackage.json'], ['GET', '/../package.json'], ['GET', '/constructor'], ['POST', '/'], ['DELETE', '/page.js']])('do not include %s %s', async (method, path) => {
    const answer = await call(path, method);
    expect(answer.status).toBe(404);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect(await answer.json()).toMatchObject({ code: 'ROUTE_NOT_FOUND', status: 404 });
  });
});
