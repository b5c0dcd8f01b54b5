/**
 * What one side may send the other. Every limit is a setting of the process that holds it; these are
 * the defaults. Sizes are bytes on the wire before WebSocket framing.
 */
export interface WireLimits {
  /** A frame: tag line, line feed and body. */
  readonly frameMaxBytes: number;
  /** A room name in UTF-8. */
  readonly roomMaxBytes: number;
  /** A tag line: the room and, in v2, its fields. */
  readonly tagLineMaxBytes: number;
  /** A text (control) frame. */
  readonly controlMaxBytes: number;
  /** Room patterns that one connection may be subscribed to at a time. */
  readonly patternsMax: number;
  /** WebSocket fragments that one message may arrive in. */
  readonly fragmentsMax: number;
}

export const DEFAULT_LIMITS: WireLimits = {
  // 1 MB, so that a frame with its id fits nats-server's default message of 1 MiB.
  frameMaxBytes: 1_000_000,
  // The originals use BLDG-ROOM (under 20 bytes); 256 leaves room for paths and keeps a NATS subject
  // (three times that when percent-encoded) under nats-server's 4,096-byte control line.
  roomMaxBytes: 256,
  tagLineMaxBytes: 2_048,
  controlMaxBytes: 65_536,
  patternsMax: 10_000,
  fragmentsMax: 1_024,
};

/** Nesting of a JSON body that is parsed (never on the routing path). */
export const JSON_MAX_DEPTH = 64;
