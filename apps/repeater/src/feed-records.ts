import type { AccessCopy } from '@carillon/access';
import type { Logger } from '@carillon/runtime';
import { DEFAULT_WORKSPACE_ID, feedKey, feedRecord, type FeedRecord } from '@carillon/schemas';

import type { RepeaterCounts } from './metrics.ts';

export interface FeedRecordsOptions {
  /** With what the copy's file had in it. */
  readonly copy: AccessCopy;
  readonly counts: RepeaterCounts;
  readonly log: Logger;
}

/** A thing's key in the feed, of which a record without an entry has only this. */
const FEED_KEY = /^([A-Za-z0-9_]{1,64})\.(?:workspace|key|event-definition|room|device)\.[A-Za-z0-9_]{1,64}$/;

/**
 * What a repeater takes from its hub's feed: well-formed records, all of one workspace. The first record ever taken says
 * which one that is, and the copy's file keeps it; a repeater that moves to another workspace starts without that file.
 */
export class FeedRecords {
  readonly #options: FeedRecordsOptions;
  #workspaceId: string | undefined = undefined;
  #strangers = 0;

  constructor(options: FeedRecordsOptions) {
    this.#options = options;
    for (const [key] of options.copy.records()) {
      this.#workspaceId = workspaceOf(key);
      break;
    }
  }

  /** The workspace of this repeater; the default one until a record told. */
  get workspaceId(): string {
    return this.#workspaceId ?? DEFAULT_WORKSPACE_ID;
  }

  /**
   * Takes the data of one `record` event. What is not taken is counted, and the feed goes on. `anew`: the copy was of
   * another installation and is forgotten, so that everything has to be given again.
   */
  take(data: string): 'anew' | undefined {
    const { copy, counts, log } = this.#options;
    const read = readRecord(data);
    if (read === undefined) {
      counts.feedRefused.add('malformed');
      log.debug({ characters: data.length }, 'a record of the access feed is malformed');
      return undefined;
    }
    if (this.#workspaceId !== undefined && read.workspaceId !== this.#workspaceId) {
      counts.feedRefused.add('stranger');
      this.#strangers += 1;
      const text = 'the access feed has records of another workspace, which are refused; a repeater that has moved starts without its copy (access/repeater.json)';
      log[this.#strangers === 1 ? 'error' : 'debug']({ workspace: this.#workspaceId, record: read.workspaceId }, text);
      return undefined;
    }
    this.#workspaceId = read.workspaceId;
    return copy.apply(read.name, read.record) === 'anew' ? 'anew' : undefined;
  }
}

function readRecord(data: string): { readonly name: string; readonly workspaceId: string; readonly record: FeedRecord } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || !('key' in value) || typeof value.key !== 'string' || !('record' in value)) return undefined;
  const workspaceId = workspaceOf(value.key);
  const record = feedRecord.safeParse(value.record);
  if (workspaceId === undefined || !record.success) return undefined;
  const { entry } = record.data;
  // A workspace's own record names itself twice.
  if (entry !== null && (feedKey(entry) !== value.key || (entry.type === 'workspace' && entry.id !== entry.workspaceId))) return undefined;
  return { name: value.key, workspaceId, record: record.data };
}

function workspaceOf(key: string): string | undefined {
  return FEED_KEY.exec(key)?.[1];
}
