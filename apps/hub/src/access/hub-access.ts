import { join } from 'node:path';

import { AccessCopy, AccessCopyFile, type AccessLog, type Principal } from '@carillon/access';
import type { Bus } from '@carillon/bus';
import { isLoopback, type Health, type Logger } from '@carillon/runtime';

import { AccessFeed, FEED_TICK_MS } from './access-feed.ts';
import { AccessRelay } from './access-relay.ts';
import { Admission, endCode } from './admission.ts';
import type { HubConfig } from '../config.ts';
import type { HubCounts } from '../counts.ts';
import { Holders } from './holders.ts';
import { UsedKeys } from './used-keys.ts';
import type { Workspaces } from '../workspaces.ts';

/** Put together: what this hub knows of who may do what, how it hears of changes, and what follows from one. */
export interface HubAccessOptions {
  readonly config: HubConfig;
  readonly hub: { readonly id: string; readonly name: string };
  readonly counts: HubCounts;
  readonly log: Logger;
  /** Where changes come from; without it the hub knows what is on its disk, and that is never stale. */
  readonly feedBus: Bus | undefined;
  /** Whether the feed comes from another process, so that it can be missed. */
  readonly isRemote: boolean;
}

const COPY_FILE = join('access', 'hub.json');
const TICKS_A_SECOND = 1_000 / FEED_TICK_MS;

export class HubAccess {
  readonly copy: AccessCopy;
  readonly holders = new Holders();
  readonly admission: Admission;
  readonly relay: AccessRelay;
  readonly used = new UsedKeys(Date.now);
  readonly #options: HubAccessOptions;
  readonly #feed: AccessFeed | undefined;
  readonly #file: AccessCopyFile;
  #loadedRecords = 0;
  #timer: NodeJS.Timeout | undefined = undefined;
  #ticks = 0;

  constructor(options: HubAccessOptions) {
    const { config, feedBus, isRemote, counts, hub, log } = options;
    const accessLog: AccessLog = ({ level, text, fields }) => log[level](fields, text);
    this.#options = options;
    this.copy = new AccessCopy({ now: Date.now, log: accessLog });
    this.#file = new AccessCopyFile({ path: join(config.common.dataDir, COPY_FILE), copy: this.copy, log: accessLog });
    this.#feed = feedBus === undefined ? undefined : new AccessFeed({
      bus: feedBus, copy: this.copy, counts, used: this.used, log, hub,
      staleAfterMs: isRemote ? config.access.staleAfterMs : 0,
      staleChanged: (stale, why) => this.#staleChanged(stale, why),
    });
    this.admission = new Admission({
      mode: config.access.mode, copy: this.copy, isStale: () => this.isStale, used: (keyId) => this.used.note(keyId),
      allowedOrigins: config.allowedOrigins, onLoopback: isLoopback(config.listen.host),
    });
    this.relay = new AccessRelay({ copy: this.copy, holders: this.holders, counts, waitingMaxBytes: config.limits.laneMaxBytes, writeTimeoutMs: config.timing.writeTimeoutMs });
  }

  get isStale(): boolean {
    return this.#feed?.isStale ?? false;
  }

  get records(): number {
    return [...this.copy.records()].length;
  }

  /** Reads what the disk has and begins to hear of changes; to be awaited before anybody is let in. */
  async start(workspaces: Workspaces): Promise<void> {
    this.#loadedRecords = await this.#file.load();
    this.#follow(workspaces);
    if (this.#feed !== undefined) {
      this.#file.start();
      this.#feed.start();
    }
    this.#timer = setInterval(() => this.#tick(workspaces), FEED_TICK_MS).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#feed?.stop();
    await this.#file.close();
  }

  /** In `keys` mode a hub that knows of no key, or trusts none, lets nobody in and should not be sent anybody. */
  addCheck(health: Health): void {
    const { mode } = this.#options.config.access;
    health.addCheck('access', () => {
      if (mode !== 'keys') return { ok: true };
      if (this.isStale) return { ok: false, reason: 'access is stale: no key is trusted until the feed is heard again' };
      return this.#loadedRecords > 0 || this.#feed?.isSynced === true ? { ok: true } : { ok: false, reason: 'there is no copy of the access keys yet' };
    });
  }

  #tick(workspaces: Workspaces): void {
    this.#ticks += 1;
    this.#feed?.tick();
    if (this.#ticks % TICKS_A_SECOND !== 0) return;
    this.copy.expire();
    this.relay.beat();
    workspaces.sweep();
    // A key is in use as long as something is held open with it.
    if (this.#feed !== undefined) for (const keyId of this.holders.keyIds()) this.used.note(keyId);
  }

  #follow(workspaces: Workspaces): void {
    this.copy.onChange((change) => {
      switch (change.type) {
        case 'principal':
          this.#settle(change.principal, workspaces);
          return;
        case 'workspace':
          workspaces.known(change.workspaceId)?.intake.refresh();
          this.#endFormerAnonymous(change.workspaceId);
          return;
        case 'room':
          workspaces.known(change.workspaceId)?.router.invalidate();
          return;
        case 'event-definition':
        case 'device':
          return; // looked up when an event needs it
        default:
          change satisfies never;
      }
    });
  }

  /** What a principal holds ends with it, and with the secret it came by; what it may receive is decided anew. */
  #settle(principal: Principal, workspaces: Workspaces): void {
    if (principal.status !== 'valid') {
      this.holders.endOf(principal, endCode(principal));
      return;
    }
    if (!this.holders.has(principal)) return;
    this.holders.endOf(principal, 'ACCESS_KEY_INVALID', ({ secret }) => secret !== undefined && !principal.accepts(secret));
    workspaces.known(principal.workspaceId)?.router.invalidate();
  }

  /** Who came in without a key goes when the workspace lets nobody in so any more, or by another key's rights. */
  #endFormerAnonymous(workspaceId: string): void {
    const anonymous = this.copy.anonymous(workspaceId);
    this.holders.end(({ principal, presented }) => !presented && principal.keyId !== undefined && principal.workspaceId === workspaceId && principal !== anonymous, 'ACCESS_KEY_REQUIRED');
  }

  #staleChanged(stale: boolean, why: string): void {
    const { log, config } = this.#options;
    if (!stale) {
      log.info({ seq: this.copy.seq }, 'access is current again');
      return;
    }
    const { comeBackMinMs, comeBackMaxMs } = config.timing;
    log.warn({ why, seq: this.copy.seq }, 'access is stale: no key is trusted until changes are heard again');
    this.holders.end(({ principal }) => principal.keyId !== undefined, 'ACCESS_STALE', () => comeBackMinMs + Math.random() * (comeBackMaxMs - comeBackMinMs));
  }
}
