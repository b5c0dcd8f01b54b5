import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { AccessCopy, AccessCopyFile, parseAccessKey, type AccessLog } from '@carillon/access';
import { isLoopback, type Logger } from '@carillon/runtime';

import { hubFeedUrl } from './addresses.ts';
import { repeaterSettings, type RepeaterConfig } from './config.ts';
import { FeedClient } from './feed-client.ts';
import { FeedRecords } from './feed-records.ts';
import { Gate } from './gate.ts';
import type { RepeaterCounts } from './metrics.ts';

/**
 * What a repeater knows of keys, permissions and devices: a copy in memory, which a file brings over a restart and the
 * hub's feed keeps up to date.
 *
 *   file ──load, once──▶ copy ◀──records── feed ◀── hub
 *     ▲────────changes────┘└──▶ gate, permissions, send list
 */
export interface RepeaterAccess {
  readonly copy: AccessCopy;
  readonly records: FeedRecords;
  readonly gate: Gate;
  readonly feed: FeedClient;
  /** What this repeater presents to its hub. */
  readonly hubHeaders: Readonly<Record<string, string>>;
  /** Opens the feed, and begins to look at the time. */
  start(): void;
  /** Closes the feed and writes what has changed. */
  close(): Promise<void>;
}

/** How often keys are looked at whose time may have come. */
const EXPIRE_EVERY_MS = 1_000;

export interface OpenAccessOptions {
  readonly counts: RepeaterCounts;
  readonly log: Logger;
}

/** Loads the copy. Rejects when the key's file has no key in it; a copy that cannot be read is set aside. */
export async function openAccess(config: RepeaterConfig, { counts, log }: OpenAccessOptions): Promise<RepeaterAccess> {
  const hubHeaders = bearer(await hubKey(config));
  const accessLog: AccessLog = ({ level, text, fields }) => log[level](fields, text);
  const copy = new AccessCopy({ now: Date.now, log: accessLog });
  const file = new AccessCopyFile({ path: join(config.common.dataDir, 'access', 'repeater.json'), copy, log: accessLog });
  const loaded = await file.load();
  file.start();
  const records = new FeedRecords({ copy, counts, log });
  log.info({ records: loaded, seq: copy.seq, workspace: records.workspaceId }, 'the copy of the access configuration was read');
  const { retryFirstMs, retryCapMs, url } = config.hub;
  const feed = new FeedClient({ url: hubFeedUrl(url), headers: hubHeaders, records, log, backoff: { firstMs: retryFirstMs, capMs: retryCapMs, factor: 2, random: Math.random } });
  const gate = new Gate({ mode: config.access, copy, workspaceId: () => records.workspaceId, allowedOrigins: config.allowedOrigins, onLoopback: isLoopback(config.listen.host) });
  let clock: NodeJS.Timeout | undefined;
  return {
    copy, records, gate, feed, hubHeaders,
    start: () => {
      feed.start();
      clock ??= setInterval(() => copy.expire(), EXPIRE_EVERY_MS).unref();
    },
    close: async () => {
      clearInterval(clock);
      await feed.stop();
      await file.close();
    },
  };
}

/** The key of the settings, or of the file they name. */
async function hubKey({ key, keyFile }: RepeaterConfig): Promise<string | undefined> {
  if (keyFile === undefined) return key;
  const text = (await readFile(keyFile, 'utf8')).trim();
  if (parseAccessKey(text) === undefined) throw new Error(`${repeaterSettings.keyFile.env}: ${keyFile} does not hold an access key and nothing else`);
  return text;
}

function bearer(key: string | undefined): Readonly<Record<string, string>> {
  return key === undefined ? {} : { authorization: `Bearer ${key}` };
}
