import { createHash } from 'node:crypto';
import { chmod, mkdir, open, readFile, rename, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';

import { feedRecord, type FeedRecord } from '@carillon/schemas';

import type { AccessCopy } from './access-copy.ts';
import type { AccessLog } from './access-log.ts';

/*
 * A copy on disk, so that a process that starts while nobody can tell it anything still knows who may do what. Lines of JSON:
 *
 *   {"format":"carillon-access-copy","version":1,"records":2}
 *   {"key":"default.workspace.default","record":{"seq":1,"entry":{…}}}
 *   {"key":"default.key.AbC","record":{"seq":2,"entry":null}}
 *   {"sha256":"…"}                                            of all bytes before this line
 *
 * It is written anew beside the old one, synced and renamed over it: a crash leaves the one or the other, whole. It holds
 * hashes of keys, no keys; still it says who may do what, and is its owner's alone.
 */
const FORMAT = 'carillon-access-copy';
const VERSION = 1;
const LINE_FEED = 0x0a;
/** Changes come in bursts (a resync, a script against the API): one file for all that come within this. */
const DEBOUNCE_MS = 200;
/** A large copy that changes all the time is written for a tenth of the time at most. */
const PAUSE_PER_WRITE = 9;
/** Lines are put together in pieces of about this many, with a turn of the event loop for others in between. */
const RECORDS_PER_CHUNK = 500;

export interface AccessCopyFileOptions {
  /** Its folder is made if need be, for its owner alone. */
  readonly path: string;
  readonly copy: AccessCopy;
  /** Milliseconds of a clock that does not go back; performance.now by default. */
  readonly now?: () => number;
  /** Hears of a damaged file and of writes that fail (once a kind of failure, until one succeeds). */
  readonly log?: AccessLog;
}

/** Keeps a copy in a file: `load` once before the feed is heard, `start`, and `close` at the end. None of them throws for what is wrong with the disk. */
export class AccessCopyFile {
  readonly #path: string;
  readonly #copy: AccessCopy;
  readonly #now: () => number;
  readonly #log: AccessLog;
  #unlisten: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> | undefined;
  #closed: Promise<void> | undefined;
  /** Something has come since the last write began. */
  #isChanged = false;
  /** The last write failed: the file is behind. */
  #isBehind = false;
  #pauseMs = DEBOUNCE_MS;
  readonly #reported = new Set<string>();

  constructor({ path, copy, now = () => performance.now(), log = () => undefined }: AccessCopyFileOptions) {
    this.#path = path;
    this.#copy = copy;
    this.#now = now;
    this.#log = log;
  }

  /** Applies what the file holds and gives the number of its records; 0 when there is none. What cannot be used is set aside as `<path>.bad`. */
  async load(): Promise<number> {
    let bytes: Buffer;
    try {
      bytes = await readFile(this.#path);
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') this.#log({ level: 'error', text: 'The access copy could not be read', fields: { path: this.#path, error } });
      return 0;
    }
    const read = readCopy(bytes);
    if (!read.ok) {
      await this.#setAside(read.fault);
      return 0;
    }
    for (const { key, record } of read.lines) this.#copy.apply(key, record);
    return read.lines.length;
  }

  /** Writes the file some 200 ms after a change, from now on. */
  start(): void {
    if (this.#closed !== undefined) return;
    this.#unlisten ??= this.#copy.onRecord(() => {
      this.#isChanged = true;
      this.#schedule();
    });
  }

  /** Writes what is pending and stops; calling it again gives the same promise. */
  close(): Promise<void> {
    this.#closed ??= this.#finish();
    return this.#closed;
  }

  async #finish(): Promise<void> {
    this.#unlisten?.();
    clearTimeout(this.#timer);
    await this.#writing;
    if (this.#isChanged || this.#isBehind) await this.#write();
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#writing !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#writing = this.#write().finally(() => {
        this.#writing = undefined;
        if (this.#isChanged && this.#closed === undefined) this.#schedule();
      });
    }, this.#pauseMs);
  }

  /** Never rejects: after a failure the file is as it was, and the next change tries again. */
  async #write(): Promise<void> {
    const startedMs = this.#now();
    this.#isChanged = false;
    try {
      await this.#replace([...this.#copy.records()]);
      this.#isBehind = false;
      this.#reported.clear();
    } catch (error) {
      this.#isBehind = true;
      const code = errorCode(error);
      if (!this.#reported.has(code)) this.#log({ level: 'error', text: 'The access copy could not be written', fields: { path: this.#path, code, error } });
      this.#reported.add(code);
    }
    this.#pauseMs = Math.max(DEBOUNCE_MS, (this.#now() - startedMs) * PAUSE_PER_WRITE);
  }

  async #replace(records: readonly (readonly [string, FeedRecord])[]): Promise<void> {
    const folder = dirname(this.#path);
    // Left behind by a crash or not: what stands there is written over.
    const fresh = `${this.#path}.new`;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await chmod(folder, 0o700);
    const file = await open(fresh, 'w', 0o600);
    try {
      await file.chmod(0o600);
      await writeCopy(file, records);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(fresh, this.#path);
    await syncFolder(folder);
  }

  async #setAside(fault: string): Promise<void> {
    const bad = `${this.#path}.bad`;
    this.#log({ level: 'error', text: 'The access copy cannot be used and was set aside', fields: { path: this.#path, bad, fault } });
    try {
      await rename(this.#path, bad);
    } catch (error) {
      this.#log({ level: 'error', text: 'The access copy could not be set aside', fields: { path: this.#path, error } });
    }
  }
}

type ReadCopy = { readonly ok: true; readonly lines: readonly { readonly key: string; readonly record: FeedRecord }[] } | { readonly ok: false; readonly fault: string };

/** Reads a whole file or nothing of it. */
function readCopy(bytes: Buffer): ReadCopy {
  const [first = ''] = linesOf(bytes);
  const header = parseLine(first);
  if (header?.['format'] !== FORMAT) return { ok: false, fault: 'it is no access copy' };
  if (header['version'] !== VERSION) return { ok: false, fault: 'it is of another version' };
  const body = bytes.subarray(0, bytes.lastIndexOf(LINE_FEED, -2) + 1);
  if (bytes.toString('utf8', body.length) !== sumLineOf(createHash('sha256').update(body).digest('base64url'))) return { ok: false, fault: 'its checksum does not fit' };
  const lines = [];
  for (const line of linesOf(body.subarray(body.indexOf(LINE_FEED) + 1))) {
    const { key, record } = parseLine(line) ?? {};
    const parsed = feedRecord.safeParse(record);
    if (typeof key !== 'string' || !parsed.success) return { ok: false, fault: `record ${lines.length + 1} is malformed` };
    lines.push({ key, record: parsed.data });
  }
  return lines.length === header['records'] ? { ok: true, lines } : { ok: false, fault: 'it has another number of records than it says' };
}

/** Lines that end; one at a time, since the whole may be longer than a string can be. */
function* linesOf(bytes: Buffer): Iterable<string> {
  let from = 0;
  for (let end = bytes.indexOf(LINE_FEED); end !== -1; end = bytes.indexOf(LINE_FEED, from)) {
    yield bytes.toString('utf8', from, end);
    from = end + 1;
  }
}

async function writeCopy(file: FileHandle, records: readonly (readonly [string, FeedRecord])[]): Promise<void> {
  const hash = createHash('sha256');
  const append = async (text: string) => {
    hash.update(text);
    await file.writeFile(text);
  };
  await append(`${JSON.stringify({ format: FORMAT, version: VERSION, records: records.length })}\n`);
  for (let from = 0; from < records.length; from += RECORDS_PER_CHUNK) {
    await append(records.slice(from, from + RECORDS_PER_CHUNK).map(([key, record]) => `${JSON.stringify({ key, record })}\n`).join(''));
  }
  await file.writeFile(sumLineOf(hash.digest('base64url')));
}

function sumLineOf(sha256: string): string {
  return `${JSON.stringify({ sha256 })}\n`;
}

function parseLine(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Without this a rename may be forgotten by a power cut. Some file systems cannot; then the rename alone has to do. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } catch (error) {
    if (errorCode(error) !== 'EINVAL' && errorCode(error) !== 'ENOTSUP') throw error;
  } finally {
    await handle.close();
  }
}

function errorCode(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : 'unknown';
}
