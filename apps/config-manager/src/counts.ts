import { Tally } from '@carillon/runtime';
import type { ErrorCode } from '@carillon/wire';

interface RequestCount {
  readonly route: string;
  readonly status: string;
  count: number;
}

/** What a config-manager counts, as plain numbers: a metric reads them when it is asked for. */
export class ManagerCounts {
  /** What was refused, by code of the catalogue. */
  readonly refused = new Tally();
  /** Denials and failed sign-ins that were counted but not written into the audit log, since one like them just was. */
  readonly auditCoalesced = new Tally();
  /** By `<route> <status>`; routes are a fixed list, so that this is bounded. */
  readonly #requests = new Map<string, RequestCount>();
  signIns = 0;

  refuse(code: ErrorCode): void {
    this.refused.add(code);
  }

  answered(route: string, status: number): void {
    const key = `${route} ${status}`;
    const entry = this.#requests.get(key);
    if (entry === undefined) this.#requests.set(key, { route, status: String(status), count: 1 });
    else entry.count += 1;
  }

  get requests(): Iterable<Readonly<RequestCount>> {
    return this.#requests.values();
  }
}
