import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ModelHub } from './model-hub.test.fixture.ts';
import { startStubHub } from './stub-hub.test.fixture.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../..', import.meta.url));
const tsc = join(root, 'node_modules/typescript/bin/tsc');
const readme = fileURLToPath(new URL('../README.md', import.meta.url));

/** One way to use every exported name, as strictly as a consumer may compile. */
const CONSUMER = `
import { CarillonError, connect, roomEvent } from '@carillon/messenger';
import type { AgainOptions, CallbackOptions, Consumer, ConsumeOptions, Delivery, DrainOptions, EnterOptions, ErrorCode, EventGap, HistoryOptions, HistoryPage, LastError, Messenger, MessengerOptions, MessengerState, MessengerStatus, Presence, PresenceChange, Published, PublishOptions, ReceivedEvent, ReplyOptions, RequestOptions, RoomEvent, RoomEventFields, RoomMember, RoomWatch, SendOptions, SignalOptions, Since, SubscribeOptions, Subscription } from '@carillon/messenger';

const options: MessengerOptions = { outboundMaxBytes: 1, subscriptionMaxEvents: 1, backoff: { firstMs: 1, capMs: 1 }, connectTimeoutMs: 1, heartbeatTimeoutMs: 1 };
export const messenger: Messenger = connect('ws://hub', options);
export const state: MessengerState = messenger.state;
export const status: MessengerStatus = state.status;
export const last: LastError | undefined = state.lastError;
const fields: RoomEventFields = { room: 'A-1', key: 'k', value: 'v' };
export const event: RoomEvent = roomEvent(fields, new Date());
const since: Since = { seq: 1, epoch: 'e' };
const wanted: SubscribeOptions = { since, echo: true, onGap: (gap: EventGap) => void gap.reason };
export const subscription: Subscription<{ n: number }> = messenger.subscribe<{ n: number }>('A', wanted);
export async function past(published: Published): Promise<HistoryPage<{ n: number }> | undefined> {
  const range: HistoryOptions = { after: published.class === 'stored' ? published.seq : 0, max: 10 };
  return published.class === 'sent' ? undefined : messenger.history<{ n: number }>('A', range);
}
export async function read(): Promise<number> {
  for await (const received of subscription) {
    const typed: ReceivedEvent<{ n: number }> = received;
    return typed.json().n;
  }
  return 0;
}
const shared: ConsumeOptions = { since, ackTimeoutMs: 1, maxDeliveries: 1, maxInFlight: 1, window: 1 };
export const consumer: Consumer<{ n: number }> = messenger.consume<{ n: number }>('jobs', ['A'], shared);
export async function work(again: AgainOptions): Promise<number> {
  for await (const delivery of consumer) {
    const typed: Delivery<{ n: number }> = delivery;
    if (typed.attempt > 1) await typed.nack(again);
    else await typed.ack();
    return typed.event.json().n;
  }
  return 0;
}
const asking: RequestOptions = { timeoutMs: 1, id: 'one' };
const replying: ReplyOptions = { ttlMs: 1 };
export const asked: Promise<number> = messenger.request<{ n: number }>('A', '{}', asking).then(async (reply) => {
  await messenger.reply(reply, '{}', replying);
  return reply.json().n;
});
const entering: EnterOptions = { name: 'panel', data: '{}' };
export const presence: Presence = messenger.enter('A', entering);
export const watch: RoomWatch = messenger.watch('A', (change: PresenceChange) => void change.left[0]?.lastSeenMs);
export const member: RoomMember | undefined = watch.members.get('panel');
export const refreshed: Promise<void> = messenger.refresh('ck_a_b');
export type Rest = CallbackOptions | DrainOptions | PublishOptions | SendOptions | SignalOptions;
export const code = (error: unknown): ErrorCode | undefined => (error instanceof CarillonError ? error.code : undefined);
// @ts-expect-error -- a room event has a key
messenger.publish({ value: 'v' });
`;

/** By the heading that they stand under: what the examples that run say. */
const EXAMPLES: ReadonlyMap<string, string> = new Map([
  ['In Node', 'ITB-1101 power on\n'],
  ['Work queues', 'made door.jpg in attempt 2\n'],
  ['Request and reply', 'power is on\n'],
  ['Delays', 'now the lights are off\n'],
  ['Who is there', 'panel-1 is in ITB-1101 at 4\n'],
]);

/** The code blocks of the README in one language, or those from a heading on. */
async function examples(language: string, heading?: string): Promise<string[]> {
  const whole = await readFile(readme, 'utf8');
  const text = heading === undefined ? whole : whole.slice(whole.indexOf(`\n## ${heading}\n`));
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))].map((match) => match[1] ?? '');
}

describe('the published packages', () => {
  let project: string;

  beforeAll(async () => {
    project = await mkdtemp(join(tmpdir(), 'carillon-pack-'));
    const quiet = ['--offline', '--ignore-scripts', '--no-audit', '--no-fund', '--cache', join(project, '.npm')];
    await run(process.execPath, [tsc, '-b', join(root, 'libs/messenger')]);
    const folders = ['libs/wire', 'libs/messenger', 'node_modules/ws'].map((folder) => join(root, folder));
    await run('npm', ['pack', ...folders, '--pack-destination', project, ...quiet], { cwd: project });
    const tarballs = (await readdir(project)).filter((name) => name.endsWith('.tgz')).map((name) => `./${name}`);
    expect(tarballs).toHaveLength(3);
    await writeFile(join(project, 'package.json'), '{"name":"consumer","private":true,"type":"module"}');
    await run('npm', ['install', ...tarballs, ...quiet], { cwd: project });
  }, 120_000);

  afterAll(() => rm(project, { recursive: true, force: true }));

  it('hold what they need and no tests', async () => {
    const files = await readdir(join(project, 'node_modules/@carillon/messenger'), { recursive: true });
    expect(files).toEqual(expect.arrayContaining(['README.md', 'package.json', join('dist', 'index.js'), join('dist', 'index.d.ts'), join('dist', 'transport-browser.js')]));
    expect(files.filter((name) => name.includes('.test.') || name.startsWith('src') || name.includes('tsbuildinfo'))).toEqual([]);
    expect((await readdir(join(project, 'node_modules'))).filter((name) => !name.startsWith('.')).sort()).toEqual(['@carillon', 'ws']);
  });

  it.each([...EXAMPLES])('run the example of the README in plain JavaScript: %s', async (heading, expected) => {
    const hub = await startStubHub({ model: new ModelHub() });
    const [example = ''] = await examples('js', heading);
    await writeFile(join(project, 'example.js'), example.replaceAll('ws://localhost:7100', hub.url));
    const { stdout, stderr } = await run(process.execPath, ['example.js'], { cwd: project, timeout: 30_000 }).finally(() => hub.stop());
    expect({ stdout, stderr }).toEqual({ stdout: expected, stderr: '' });
    expect(hub.joined).toBe(example.split('connect(').length - 1);
    const [asked] = hub.heard.filter((text) => text.includes('"subscribe"'));
    if (heading === 'In Node') expect([asked, hub.heard]).toEqual(['{"op":"subscribe","request":"_1","rooms":["ITB-1101"]}', expect.arrayContaining(['{"op":"unsubscribe","request":"_1"}'])]);
  });

  it('have no example that is not run or type-checked, but for those of a key and a page', async () => {
    const blocks = await examples('js');
    expect(blocks.filter((block) => !block.includes('ws://localhost:7100')).every((block) => block.includes('process.env'))).toBe(true);
    expect(blocks.filter((block) => block.includes('ws://localhost:7100'))).toHaveLength(EXAMPLES.size);
  });

  it('type-check in a strict project, declarations included', async () => {
    const blocks = await examples('ts');
    expect(blocks.length).toBeGreaterThan(0);
    const names = await Promise.all([CONSUMER, ...blocks].map(async (source, index) => {
      await writeFile(join(project, `consumer-${index}.ts`), source);
      return `consumer-${index}.ts`;
    }));
    const compilerOptions = { target: 'es2023', lib: ['es2023', 'dom', 'dom.iterable'], module: 'nodenext', strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false, types: [], noEmit: true };
    await writeFile(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: names }));
    const { stdout } = await run(process.execPath, [tsc, '-p', project], { cwd: project }).catch((error: { stdout: string }) => error);
    expect(stdout).toBe('');
  }, 60_000);
});
