import { spawn } from 'node:child_process';
import { appendFile, cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
let copy = '';

beforeEach(async () => {
  await mkdir(join(root, 'dist'), { recursive: true });
  copy = await mkdtemp(join(root, 'dist', 'generate-test-'));
  await cp(join(root, 'prisma'), join(copy, 'prisma'), { recursive: true });
});
afterEach(async () => rm(copy, { recursive: true, force: true }));

const generate = async (folder = copy) =>
  new Promise<{ readonly status: number | null; readonly stderr: string }>((resolve) => {
    const child = spawn(process.execPath, [join(folder, 'prisma', 'generate.mjs')], { stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.once('close', (status) => resolve({ status, stderr }));
  });

const client = () => join(copy, 'src', 'generated', 'client.ts');
const madeAt = async () => (await stat(client())).mtimeMs;

describe('generating the client', { timeout: 60_000 }, () => {
  it('makes what the sources are compiled against', async () => {
    expect(await generate()).toEqual({ status: 0, stderr: '' });
    const files = (await readdir(join(copy, 'src', 'generated'), { recursive: true })).filter((name) => name.endsWith('.ts'));
    expect(files).toContain('client.ts');
    for (const file of files) expect(await readFile(join(copy, 'src', 'generated', file), 'utf8')).toBe(await readFile(join(root, 'src', 'generated', file), 'utf8'));
  });

  it('does nothing while nothing has changed, and its work when schema or output did', async () => {
    await generate();
    const first = await madeAt();
    await generate();
    expect(await madeAt()).toBe(first);
    await appendFile(client(), '// by hand\n');
    await generate();
    expect(await readFile(client(), 'utf8')).not.toContain('by hand');
    const schema = join(copy, 'prisma', 'schema.prisma');
    await writeFile(schema, (await readFile(schema, 'utf8')).replace('model Device {', 'model Device {\n  extra String?'));
    await generate();
    expect(await readFile(join(copy, 'src', 'generated', 'models', 'Device.ts'), 'utf8')).toContain('extra');
    await rm(join(copy, 'src', 'generated', 'models', 'Device.ts'));
    await generate();
    expect(await readFile(join(copy, 'src', 'generated', 'models', 'Device.ts'), 'utf8')).toContain('extra');
  });

  it('may be asked for by several at once', async () => {
    expect(await Promise.all([generate(), generate(), generate()])).toEqual(Array(3).fill({ status: 0, stderr: '' }));
    const made = await madeAt();
    expect((await generate()).status).toBe(0);
    expect(await madeAt()).toBe(made);
    expect((await readdir(join(copy, 'dist'))).filter((name) => name.startsWith('generate-'))).toEqual([]);
  });

  it('says what is missing when Prisma is not installed, and what is wrong with a schema', async () => {
    const bare = await mkdtemp(join(tmpdir(), 'carillon-generate-'));
    await cp(join(copy, 'prisma'), join(bare, 'prisma'), { recursive: true });
    expect(await generate(bare)).toEqual({ status: 1, stderr: expect.stringContaining('run npm ci') as string });
    await rm(bare, { recursive: true });
    await appendFile(join(copy, 'prisma', 'schema.prisma'), 'model Broken {');
    expect(await generate()).toEqual({ status: 1, stderr: expect.stringContaining('Broken') as string });
  });
});
