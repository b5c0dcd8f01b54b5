import type { AuditRecord } from '@carillon/schemas';
import type { Store } from '@carillon/store';

import type { ManagerCounts } from '../counts.ts';
import { TokenBuckets } from '../http/token-bucket.ts';

export type DeniedRecord = Omit<AuditRecord, 'id' | 'at' | 'outcome' | 'before' | 'after'>;

/** One record of the same actor, or source, and action in this time. */
const COALESCE_MS = 10_000;
const KEYS_MAX = 10_000;
/** Over all actors: many names from many sources are different records, and must not fill the database either. */
const TOTAL = { perSecond: 2, burst: 200 };

/**
 * Denials and failed sign-ins go into the audit log so that a flood of them does not fill it: one of each kind in ten
 * seconds, two a second in all. Those left out are counted.
 */
export class DenialLog {
  readonly #store: Store;
  readonly #counts: ManagerCounts;
  readonly #recent: TokenBuckets;
  readonly #total: TokenBuckets;

  constructor({ store, counts, now }: { readonly store: Store; readonly counts: ManagerCounts; readonly now: () => number }) {
    this.#store = store;
    this.#counts = counts;
    this.#recent = new TokenBuckets({ perSecond: 1_000 / COALESCE_MS, burst: 1 }, { max: KEYS_MAX, now });
    this.#total = new TokenBuckets(TOTAL, { max: 1, now });
  }

  /** `about`: what makes two denials the same besides actor and action. */
  async add(record: DeniedRecord, about = ''): Promise<void> {
    const { actor, action, source, workspaceId } = record;
    const who = actor.id ?? source;
    if (this.#recent.take(`${actor.kind} ${who} ${action} ${workspaceId ?? ''} ${about}`) > 0 || this.#total.take('') > 0) {
      this.#counts.auditCoalesced.add(action);
      return;
    }
    await this.#store.audit.add({ ...record, outcome: 'denied', before: null, after: null });
  }
}
