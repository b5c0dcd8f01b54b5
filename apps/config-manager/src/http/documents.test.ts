import { obtainChromium } from '@carillon/testing';
import { chromium, type Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { startTestConfigManager, type TestConfigManager } from '../config-manager.fixture.ts';

/** apt may have to bring the browser first. */
const INSTALL_TIMEOUT_MS = 10 * 60_000;
/** As root in a container there is no sandbox; the rest keeps the browser from calling home. */
const ARGUMENTS = ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'];

interface Operation {
  readonly operationId: string;
  readonly security: readonly Record<string, unknown>[];
  readonly parameters?: readonly { readonly in: string; readonly name: string; readonly required?: boolean }[];
  readonly requestBody?: unknown;
  readonly responses: Record<string, unknown>;
}
interface Document {
  readonly openapi: string;
  readonly paths: Record<string, Record<string, Operation>>;
  readonly components: { readonly schemas: Record<string, unknown>; readonly securitySchemes: Record<string, unknown> };
}

let manager: TestConfigManager;
beforeAll(async () => {
  manager = await startTestConfigManager();
});
afterAll(() => manager.stop());

describe('the front door', () => {
  it('leads to the docs', async () => {
    const answer = await fetch(`${manager.url}/`, { redirect: 'manual', headers: { connection: 'close' } });
    expect([answer.status, answer.headers.get('location')]).toEqual([302, '/docs']);
  });
});

describe('the OpenAPI document', () => {
  it('has every route, with what it takes and answers', async () => {
    const { status, body } = await manager.anonymous.call<Document>('GET', '//openapi.json');
    expect([status, body.openapi]).toEqual([200, '3.1.1']);
    const documented = Object.entries(body.paths).flatMap(([path, methods]) => Object.entries(methods).map(([method, { operationId }]) => `${method.toUpperCase()} ${path} ${operationId}`));
    const served = manager.manager.routes.map(({ method, path, name }) => `${method} ${path.replaceAll(/:(\w+)/g, '{$1}')} ${name}`);
    expect(documented.sort()).toEqual(served.sort());
    expect(new Set(manager.manager.routes.map(({ name }) => name)).size).toBe(served.length);
    for (const { method, path, body: input, creates, versioned, answer } of manager.manager.routes) {
      const operation = body.paths[path.replaceAll(/:(\w+)/g, '{$1}')]?.[method.toLowerCase()] as Operation;
      expect(operation.requestBody !== undefined, operation.operationId).toBe(input !== undefined);
      expect(Object.keys(operation.responses).sort(), operation.operationId).toEqual([String(answer.status), 'default']);
      const parameters = (operation.parameters ?? []).map((parameter) => `${parameter.in} ${parameter.name}`);
      expect(parameters.includes('header Idempotency-Key'), operation.operationId).toBe(creates === true);
      expect(parameters.includes('header If-Match'), operation.operationId).toBe(versioned === true && (method === 'PATCH' || method === 'PUT' || method === 'DELETE'));
      for (const [, name] of path.matchAll(/:(\w+)/g)) expect(parameters, operation.operationId).toContain(`path ${name}`);
    }
  });

  it('says who may call what, and refers to nothing that is not there', async () => {
    const { text, body } = await manager.anonymous.call<Document>('GET', '//openapi.json');
    expect(body.paths['/sessions']?.['post']?.security).toEqual([]);
    expect(body.paths['/users']?.['get']?.security).toEqual([{ session: [] }]);
    expect(body.paths['/workspaces/{workspaceId}/keys']?.['get']?.security).toEqual([{ session: [] }, { accountKey: [] }]);
    expect(Object.keys(body.components.securitySchemes)).toEqual(['session', 'accountKey']);
    for (const [, kind, name] of text.matchAll(/"\$ref":"#\/components\/(\w+)\/(\w+)"/g)) {
      expect((body.components as unknown as Record<string, Record<string, unknown>>)[kind as string]?.[name as string], name).toBeDefined();
    }
  });

  it('shows no shorthand in answers', async () => {
    const { body } = await manager.anonymous.call<Document>('GET', '//openapi.json');
    expect(JSON.stringify(body.components.schemas['PermissionRule'])).toContain('RoomPattern"}');
    expect((body.components.schemas['PermissionRuleOutput'] as { anyOf: object[] }).anyOf.map((form) => (form as { type?: string }).type)).toEqual(['object']);
  });
});

describe('the docs page', () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: await obtainChromium(), headless: true, args: ARGUMENTS });
  }, INSTALL_TIMEOUT_MS);
  afterAll(() => browser.close());

  it('shows the operations in a browser, asks nobody else, and breaks no rule of its policy', async () => {
    const page = await browser.newPage();
    const faults: string[] = [];
    page.on('console', (line) => {
      if (line.type() === 'error' || line.type() === 'warning') faults.push(`console: ${line.text()}`);
    });
    page.on('pageerror', (error) => faults.push(`uncaught: ${error.message}`));
    page.on('request', (request) => {
      if (!request.url().startsWith(`${manager.url}/`) && !request.url().startsWith('data:')) faults.push(`request to ${request.url()}`);
    });
    await page.goto(`${manager.url}/docs`);
    const operation = page.locator('.opblock', { hasText: '/workspaces/{workspaceId}/keys' }).filter({ hasText: 'Make an access key' });
    await operation.waitFor();
    await operation.locator('.opblock-summary-control').click();
    await operation.getByText('Idempotency-Key').first().waitFor();
    await page.locator('.scheme-container, .servers').first().waitFor();
    expect(faults).toEqual([]);
    await page.close();
  });

  it('may not be framed, nor run what is not from here', async () => {
    const { headers, text } = await manager.anonymous.call('GET', '//docs');
    const policy = headers.get('content-security-policy') ?? '';
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toMatch(/unsafe|https?:|\*/);
    expect(text).not.toMatch(/https?:/);
    expect((await manager.anonymous.call('GET', '//docs/swagger-ui.js')).code).toBe('ROUTE_NOT_FOUND');
    expect((await manager.anonymous.call('GET', '//docs/..%2f..%2fpackage.json')).code).toBe('ROUTE_NOT_FOUND');
  });
});
