#!/usr/bin/env node
/*
 * Stands in for the native program that Prisma's commands ask about schemas and databases, and would download: the same JSON-RPC
 * over standard input and output, answered by the WASM build of the same engine that npm installs. One request at a time.
 *
 * It never makes an answer up: what the engine does not know, or fails at, is an error, and an unanswered request ends the process
 * with a status. (A stand-in that says nothing is taken by `migrate diff` for "no difference".)
 */
import { readFileSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

import { engineDatabase, runDatabaseCommand } from './schema-engine-database.mjs';

const STDOUT = 1;
const STDERR = 2;
/** Prisma shows `data.message` of an error with this code as its own. */
const RPC_ERROR = 4466;
const PANIC_STATUS = 101;
/** Called otherwise by the WASM build. */
const METHOD_NAMES = { getDatabaseVersion: 'version' };

const args = process.argv.slice(2);
const argument = (name) => (args.includes(name) ? args[args.indexOf(name) + 1] : undefined);

/** The id of the request under way: it is answered even if the engine panics. */
let underWay;
const panics = {
  message: '',
  get() {
    return this.message;
  },
  set_message(text) {
    this.message = `RuntimeError: ${text}`;
  },
};

if (args.includes('--version') || args.includes('-V')) {
  process.stdout.write(`schema-engine-wasm ${(await loadEngine()).version()}\n`);
} else {
  const { url } = JSON.parse(argument('--datasource') ?? '{}');
  if (args.includes('cli')) process.exitCode = await runDatabaseCommand(args[args.indexOf('cli') + 1], { url, log });
  else serve(url);
}

function serve(url) {
  process.on('uncaughtException', (error) => {
    if (underWay !== undefined) send({ id: underWay, error: rpcError(error) });
    else log('ERROR', error.message);
    process.exit(PANIC_STATUS);
  });
  const engine = createEngine(url);
  // A rejection is the answer to the first request, not the end of the process.
  engine.catch(() => undefined);
  let queue = Promise.resolve();
  const lines = createInterface({ input: process.stdin, crlfDelay: Infinity });
  lines.on('line', (line) => {
    if (line.trim() !== '') queue = queue.then(() => respond(engine, JSON.parse(line)));
  });
  lines.on('close', () => void queue.finally(() => process.exit()));
}

async function createEngine(url) {
  const engine = await loadEngine();
  const datamodels = args.flatMap((name, at) => (name === '--datamodels' ? [[args[at + 1], readFileSync(args[at + 1], 'utf8')]] : []));
  return engine.SchemaEngine.new({ datamodels: datamodels.length === 0 ? undefined : datamodels }, (line) => writeSync(STDERR, `${line}\n`), engineDatabase(url));
}

/** Without the loader of the package, which needs bundlers. */
async function loadEngine() {
  const path = createRequire(import.meta.url).resolve('@prisma/schema-engine-wasm/schema_engine_bg');
  const bindings = await import(pathToFileURL(path).href);
  globalThis.PRISMA_WASM_PANIC_REGISTRY = panics;
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(path.replace(/\.js$/, '.wasm'))), { './schema_engine_bg.js': bindings });
  bindings.__wbg_set_wasm(exports);
  exports.__wbindgen_start();
  return bindings;
}

async function respond(engine, { id, method, params }) {
  if (method === undefined) return;
  underWay = id;
  try {
    send({ id, result: await call(await engine, { method, params }) });
  } catch (error) {
    send({ id, error: rpcError(error) });
  }
  underWay = undefined;
}

async function call(engine, { method, params }) {
  const name = METHOD_NAMES[method] ?? method;
  if (typeof engine[name] !== 'function') throw new Error(`The schema engine has no method ${method}.`);
  // The WASM build looks only into the cache that devDiagnostic fills; once all migrations are applied that is all devDiagnostic does.
  if (name === 'evaluateDataLoss') await engine.devDiagnostic({ migrationsList: params.migrationsList, filters: params.filters });
  const result = await engine[name](params ?? undefined);
  if (name !== 'diff') return result ?? null;
  if (typeof result?.exitCode !== 'number') throw new Error('The schema engine did not say whether there is a difference.');
  // The native program prints through a notification of its own.
  if (result.stdout != null) send({ method: 'print', id: 1, params: { content: result.stdout } });
  return { ...result, stdout: null };
}

function rpcError(error) {
  return { code: RPC_ERROR, message: 'An error happened. Check the data field for details.', data: { is_panic: false, message: panics.message || error.message, error_code: error.code ?? null, meta: null } };
}

// Written at once, so that nothing is lost when the process ends right after.
function send(body) {
  const bytes = Buffer.from(`${JSON.stringify({ jsonrpc: '2.0', ...body })}\n`);
  for (let at = 0; at < bytes.length; ) at += writeSome(bytes.subarray(at));
}

function writeSome(bytes) {
  try {
    return writeSync(STDOUT, bytes);
  } catch (error) {
    // The pipe is full: its reader is at it.
    if (error.code === 'EAGAIN') return 0;
    throw error;
  }
}

function log(level, message, fields = {}) {
  writeSync(STDERR, `${JSON.stringify({ level, target: 'schema_engine::logger', timestamp: new Date().toISOString(), fields: { message, ...fields } })}\n`);
}
