/**
 * Two hubs of a cluster may both be linked with one original hub. Originals put no ids on events, so what came over
 * both links would be two events to everybody. Of the hubs that hold such a link one uses it and the others stand by:
 *
 *   joined ──QUIET_TICKS without another's claim──▶ active ──another active claim of a lower hub id──▶ standby
 *      └──another's claim heard──▶ standby ──its claim gone for EXPIRY_TICKS──▶ active
 *
 * Every hub says each second what it claims. A hub whose bus is away hears no claims and keeps what it has: the cluster
 * is cut in two then, and each part needs its own link.
 */
export interface LinkClaim {
  readonly url: string;
  readonly active: boolean;
}

export interface ClaimedLink {
  readonly url: string;
  /** Called when the link is to be used, or not, and only on a change. */
  setActive(active: boolean): void;
}

/** A new link listens this long before it is used: two claims of every other hub. */
const QUIET_TICKS = 2;
/** A claim that was not repeated for so long is gone. */
const EXPIRY_TICKS = 3;

interface Own {
  readonly link: ClaimedLink;
  active: boolean;
  waitTicks: number;
}

interface Other {
  readonly hub: string;
  active: boolean;
  heardTick: number;
}

export class LinkClaims {
  readonly #hubId: string;
  readonly #own = new Map<string, Own>();
  readonly #others = new Map<string, Map<string, Other>>();
  #tick = 0;

  constructor(hubId: string) {
    this.#hubId = hubId;
  }

  /** A link to an original is up; it stands by until it is told otherwise. */
  join(link: ClaimedLink): void {
    this.#own.set(link.url, { link, active: false, waitTicks: QUIET_TICKS });
  }

  leave(url: string): void {
    this.#own.delete(url);
  }

  /** What this hub says of itself. */
  claims(): readonly LinkClaim[] {
    return [...this.#own.values()].map(({ link, active }) => ({ url: link.url, active }));
  }

  /** What another hub said of itself. */
  heard(hub: string, claims: readonly LinkClaim[]): void {
    if (hub === this.#hubId) return;
    for (const { url, active } of claims) {
      const others = this.#others.get(url) ?? new Map<string, Other>();
      this.#others.set(url, others.set(hub, { hub, active, heardTick: this.#tick }));
    }
    for (const own of this.#own.values()) if (own.active && this.#mustYield(own)) this.#set(own, false);
  }

  /** One second has passed. */
  tick(): void {
    this.#tick += 1;
    for (const [url, others] of this.#others) {
      for (const [hub, { heardTick }] of others) if (this.#tick - heardTick > EXPIRY_TICKS) others.delete(hub);
      if (others.size === 0) this.#others.delete(url);
    }
    for (const own of this.#own.values()) {
      if (own.waitTicks > 0) own.waitTicks -= 1;
      else if (!own.active && this.#mayUse(own)) this.#set(own, true);
    }
  }

  #set(own: Own, active: boolean): void {
    own.active = active;
    own.link.setActive(active);
  }

  #rivals({ link }: Own): Other[] {
    return [...(this.#others.get(link.url)?.values() ?? [])];
  }

  /** Nobody uses it, and of those who wait this is the first by id. */
  #mayUse(own: Own): boolean {
    return this.#rivals(own).every(({ hub, active }) => !active && this.#hubId < hub);
  }

  /** Two use it (the cluster was cut in two): the first by id keeps it. */
  #mustYield(own: Own): boolean {
    return this.#rivals(own).some(({ hub, active }) => active && hub < this.#hubId);
  }
}

/** Reads another hub's beacon; undefined when it is malformed. */
export function readClaims(payload: Uint8Array): { readonly hub: string; readonly claims: readonly LinkClaim[] } | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(payload).toString('utf8'));
    if (typeof value !== 'object' || value === null || !('hub' in value) || !('claims' in value)) return undefined;
    const { hub, claims } = value;
    if (typeof hub !== 'string' || !Array.isArray(claims) || !claims.every(isClaim)) return undefined;
    return { hub, claims };
  } catch {
    return undefined;
  }
}

function isClaim(value: unknown): value is LinkClaim {
  return typeof value === 'object' && value !== null && 'url' in value && typeof value.url === 'string' && 'active' in value && typeof value.active === 'boolean';
}
