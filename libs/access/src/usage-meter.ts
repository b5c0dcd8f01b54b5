import type { UsageLimits } from '@carillon/schemas';
import { DEFAULT_LIMITS } from '@carillon/wire';

import { TokenBucket } from './token-bucket.ts';

/** What is used at this process against one set of limits: a key's, or those that all keys of a workspace share. */
export class UsageCount {
  /** Milliseconds of a clock that does not go back. */
  readonly now: () => number;
  #limits: UsageLimits = {};
  #connections = 0;
  #rooms = 0;
  #events: TokenBucket | undefined;
  #bytes: TokenBucket | undefined;

  constructor(limits: UsageLimits, now: () => number) {
    this.now = now;
    this.limits = limits;
  }

  get limits(): UsageLimits {
    return this.#limits;
  }

  /** Changes the limits in place: what is in use stays in use, also above a new bound. */
  set limits(limits: UsageLimits) {
    this.#limits = limits;
    this.#events = this.#bucket(this.#events, limits.eventsPerSecond, 1);
    // A burst is one largest frame at least: a key of 1,024 bytes a second may still send one.
    this.#bytes = this.#bucket(this.#bytes, limits.bytesPerSecond, DEFAULT_LIMITS.frameMaxBytes);
  }

  get connections(): number {
    return this.#connections;
  }

  get rooms(): number {
    return this.#rooms;
  }

  /** Whether sending is without bound. */
  get sendsFreely(): boolean {
    return this.#events === undefined && this.#bytes === undefined;
  }

  connect(): boolean {
    if (this.#connections >= (this.#limits.connections ?? Infinity)) return false;
    this.#connections += 1;
    return true;
  }

  disconnect(): void {
    this.#connections = Math.max(0, this.#connections - 1);
  }

  subscribe(): boolean {
    if (this.#rooms >= (this.#limits.rooms ?? Infinity)) return false;
    this.#rooms += 1;
    return true;
  }

  unsubscribe(count: number): void {
    this.#rooms = Math.max(0, this.#rooms - count);
  }

  takeEvent(nowMs: number): boolean {
    return this.#events?.take(1, nowMs) ?? true;
  }

  giveEventBack(): void {
    this.#events?.giveBack(1);
  }

  takeBytes(bytes: number, nowMs: number): boolean {
    return this.#bytes?.take(bytes, nowMs) ?? true;
  }

  giveBytesBack(bytes: number): void {
    this.#bytes?.giveBack(bytes);
  }

  #bucket(bucket: TokenBucket | undefined, perSecond: number | null | undefined, leastBurst: number): TokenBucket | undefined {
    if (perSecond === null || perSecond === undefined) return undefined;
    const rate = { perSecond, burst: Math.max(perSecond, leastBurst), nowMs: this.now() };
    if (bucket === undefined) return new TokenBucket(rate);
    bucket.change(rate);
    return bucket;
  }
}

/**
 * Counts the use of one key at this process. Both the key and its workspace must have room; where the workspace refuses,
 * the key's own count is as before. Whoever was let in by `connect` or `subscribe` must go by `disconnect` or `unsubscribe`.
 */
export class UsageMeter {
  readonly #own: UsageCount;
  readonly #shared: UsageCount;

  constructor({ own, shared }: { readonly own: UsageCount; readonly shared: UsageCount }) {
    this.#own = own;
    this.#shared = shared;
  }

  /** Connections of this key at present. */
  get connections(): number {
    return this.#own.connections;
  }

  /** Subscriptions of this key at present. */
  get rooms(): number {
    return this.#own.rooms;
  }

  connect(): 'CONNECTION_LIMIT_REACHED' | undefined {
    if (!this.#own.connect()) return 'CONNECTION_LIMIT_REACHED';
    if (this.#shared.connect()) return undefined;
    this.#own.disconnect();
    return 'CONNECTION_LIMIT_REACHED';
  }

  disconnect(): void {
    this.#own.disconnect();
    this.#shared.disconnect();
  }

  subscribe(): 'ROOM_LIMIT_REACHED' | undefined {
    if (!this.#own.subscribe()) return 'ROOM_LIMIT_REACHED';
    if (this.#shared.subscribe()) return undefined;
    this.#own.unsubscribe(1);
    return 'ROOM_LIMIT_REACHED';
  }

  /** Gives `count` subscriptions up. */
  unsubscribe(count: number): void {
    this.#own.unsubscribe(count);
    this.#shared.unsubscribe(count);
  }

  /** Counts one event of that many bytes; a refused one counts for nothing. */
  send(bytes: number): 'EVENT_RATE_EXCEEDED' | 'BYTE_RATE_EXCEEDED' | undefined {
    if (this.#own.sendsFreely && this.#shared.sendsFreely) return undefined;
    const nowMs = this.#own.now();
    if (!this.#takeEvent(nowMs)) return 'EVENT_RATE_EXCEEDED';
    if (this.#takeBytes(bytes, nowMs)) return undefined;
    this.#own.giveEventBack();
    this.#shared.giveEventBack();
    return 'BYTE_RATE_EXCEEDED';
  }

  #takeEvent(nowMs: number): boolean {
    if (!this.#own.takeEvent(nowMs)) return false;
    if (this.#shared.takeEvent(nowMs)) return true;
    this.#own.giveEventBack();
    return false;
  }

  #takeBytes(bytes: number, nowMs: number): boolean {
    if (!this.#own.takeBytes(bytes, nowMs)) return false;
    if (this.#shared.takeBytes(bytes, nowMs)) return true;
    this.#own.giveBytesBack(bytes);
    return false;
  }
}
