/*
 * Generates the client of the schema into src/generated, unless what is there was made from the same schema by the same generator
 * and nobody has changed it. Generated beside and moved over file by file, so that two may run at once, with a build beside them.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const root = fileURLToPath(new URL('..', import.meta.url));
const schema = join(root, 'prisma', 'schema.prisma');
const output = join(root, 'src', 'generated');
const stamp = join(output, '.stamp');
const shim = join(root, 'prisma', 'schema-engine-shim.mjs');

const wanted = inputs();
if (!isCurrent()) generate();

/** One hash over what the output follows from. */
function inputs() {
  const versions = ['prisma/package.json', '@prisma/client/package.json'].map((name) => readFileSync(resolved(name), 'utf8')).map((text) => JSON.parse(text).version);
  return hashOf([...versions, readFileSync(schema), readFileSync(fileURLToPath(import.meta.url))]);
}

function isCurrent() {
  return existsSync(stamp) && readFileSync(stamp, 'utf8') === stampOf(output);
}

function generate() {
  const cli = resolved('prisma/build/index.js');
  mkdirSync(join(root, 'dist'), { recursive: true });
  const beside = mkdtempSync(join(root, 'dist', 'generate-'));
  try {
    // With the same folders around the schema, so that the output is the same to the byte.
    cpSync(schema, join(beside, 'prisma', 'schema.prisma'));
    chmodSync(shim, 0o755);
    const env = { ...process.env, PRISMA_SCHEMA_ENGINE_BINARY: shim, PRISMA_HIDE_UPDATE_MESSAGE: '1', CHECKPOINT_DISABLE: '1' };
    execFileSync(process.execPath, [cli, 'generate', '--no-hints', '--schema', join(beside, 'prisma', 'schema.prisma')], { cwd: root, env, stdio: 'pipe', encoding: 'utf8' });
    take(join(beside, 'src', 'generated'));
  } catch (error) {
    fail(`Prisma could not generate the client of ${schema}:\n${error.stderr || error.message}`);
  } finally {
    rmSync(beside, { recursive: true, force: true });
  }
}

/** Moves the files of `made` over those of the output, takes away what is left of an earlier one, and stamps it last. */
function take(made) {
  const files = filesOf(made);
  for (const file of files) {
    mkdirSync(dirname(join(output, file)), { recursive: true });
    renameSync(join(made, file), join(output, file));
  }
  for (const file of filesOf(output)) if (!files.includes(file)) rmSync(join(output, file), { force: true });
  const next = `${stamp}-${process.pid}`;
  writeFileSync(next, stampOf(output));
  renameSync(next, stamp);
}

function stampOf(folder) {
  const made = filesOf(folder).flatMap((file) => [file, readFileSync(join(folder, file))]);
  return `${wanted} ${hashOf(made)}\n`;
}

function filesOf(folder) {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile() && !entry.name.startsWith('.stamp')).map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1)).sort();
}

function hashOf(parts) {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${part.length}:`).update(part);
  return hash.digest('hex');
}

function resolved(name) {
  try {
    return require.resolve(name);
  } catch {
    return fail('Prisma is not installed: run npm ci (with development dependencies) first.');
  }
}

function fail(text) {
  process.stderr.write(`${text}\n`);
  process.exit(1);
}
