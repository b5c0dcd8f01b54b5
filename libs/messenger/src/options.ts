/** How a messenger behaves; everything has a default. */
export interface MessengerOptions {
  /** Its abort closes the messenger, as `close()` does. */
  readonly signal?: AbortSignal;
  /** Bytes of frames that may wait for the hub or for its answer; one more rejects with PUBLISH_QUEUE_FULL. Default 4 MiB. */
  readonly outboundMaxBytes?: number;
  /**
   * A publish that the hub has not answered by then rejects with ABORTED; the event may or may not have been stored.
   * Default: none, it waits as long as the messenger lives.
   */
  readonly publishTimeoutMs?: number;
  /**
   * Events an async iterable may keep for its reader. Beyond that events of the log wait there, where the hub keeps one; an
   * event of a live room ends the iterable with SUBSCRIPTION_OVERFLOW. Default 10,000.
   */
  readonly subscriptionMaxEvents?: number;
  /** Ceiling of the first wait before a reconnect, and of every later one. Default 500 and 30,000; full jitter. */
  readonly backoff?: { readonly firstMs: number; readonly capMs: number };
  /** A connection that is not open by then is given up. Default 10,000. */
  readonly connectTimeoutMs?: number;
  /**
   * A hub that sent nothing, pings included, for so long is given up. Default 90,000 (hubs ping every 30 s). Browsers
   * hide pings from pages, so there it has no effect: a dead connection is noticed when the browser notices it.
   */
  readonly heartbeatTimeoutMs?: number;
  /**
   * The access key (`ck_…`) to present: as `Authorization: Bearer` in Node, as the path's first segments (`/k/<key>`) in
   * browsers, which send no headers. It is shown nowhere.
   */
  readonly accessKey?: string;
  /** Headers of the handshake. Node only: browsers cannot send any. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** The options with every default filled in. */
export interface CompiledOptions {
  readonly outboundMaxBytes: number;
  readonly publishTimeoutMs: number | undefined;
  readonly subscriptionMaxEvents: number;
  readonly backoff: { readonly firstMs: number; readonly capMs: number };
  readonly connectTimeoutMs: number;
  readonly heartbeatTimeoutMs: number;
  readonly headers: Readonly<Record<string, string>>;
}

/** Fills in the defaults. A number that is not positive is a mistake of the program: RangeError. */
export function compileOptions(options: MessengerOptions): CompiledOptions {
  return {
    outboundMaxBytes: positive('outboundMaxBytes', options.outboundMaxBytes, 4_194_304),
    publishTimeoutMs: options.publishTimeoutMs === undefined ? undefined : positive('publishTimeoutMs', options.publishTimeoutMs, 0),
    subscriptionMaxEvents: positive('subscriptionMaxEvents', options.subscriptionMaxEvents, 10_000),
    backoff: {
      firstMs: positive('backoff.firstMs', options.backoff?.firstMs, 500),
      capMs: positive('backoff.capMs', options.backoff?.capMs, 30_000),
    },
    connectTimeoutMs: positive('connectTimeoutMs', options.connectTimeoutMs, 10_000),
    heartbeatTimeoutMs: positive('heartbeatTimeoutMs', options.heartbeatTimeoutMs, 90_000),
    headers: options.accessKey === undefined ? { ...options.headers } : { ...options.headers, authorization: `Bearer ${options.accessKey}` },
  };
}

/** Returns the value or its default, and refuses what no timer and no bound can be. */
export function positive(name: string, value: number | undefined, fallback: number): number {
  if (value === undefined) return fallback;
  if (!(value > 0)) throw new RangeError(`${name} must be greater than 0, not ${value}`);
  return value;
}
