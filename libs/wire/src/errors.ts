/**
 * The one catalogue of refusals. A code is never renamed or reused; titles are for people and may change.
 * `close` is the WebSocket close code when the refusal ends the connection (absent: the peer survives it
 * or it happens before there is a connection); `http` is the status when it answers a request.
 * 1000-1015 are RFC 6455's; of ours 4000-4499 mean "come back", 4500-4999 "do not until something changed".
 */
export type ErrorKind = 'protocol' | 'auth' | 'limit' | 'conflict' | 'not-found' | 'unavailable' | 'deadline' | 'internal';

export interface ErrorEntry {
  readonly kind: ErrorKind;
  readonly http: number;
  readonly close?: number;
  readonly retryable: boolean;
  readonly title: string;
}

const entry = (kind: ErrorKind, http: number, close: number | undefined, retryable: boolean, title: string): ErrorEntry =>
  close === undefined ? { kind, http, retryable, title } : { kind, http, close, retryable, title };

export const ERRORS = {
  // Frames
  FRAME_MALFORMED: entry('protocol', 400, 1002, false, 'The WebSocket framing is broken'),
  FRAME_LINE_FEED_MISSING: entry('protocol', 400, 4500, false, 'An event frame needs a line feed after its room'),
  FRAME_TOO_LARGE: entry('limit', 413, 1009, false, 'The frame is larger than this server takes'),
  FRAGMENTS_EXCEEDED: entry('limit', 413, 1008, false, 'The message came in too many fragments'),
  ROOM_NAME_INVALID: entry('protocol', 400, 4501, false, 'The room name is empty, too long, not UTF-8, or has a control character or *'),
  TAG_LINE_INVALID: entry('protocol', 400, 4502, false, 'The tag line is too long or one of its fields is malformed'),
  TEXT_INVALID_UTF8: entry('protocol', 400, 1007, false, 'A text frame is not valid UTF-8'),
  TEXT_UNEXPECTED: entry('protocol', 400, 1003, false, 'This connection takes binary event frames only'),
  CONTROL_INVALID: entry('protocol', 400, undefined, false, 'The control frame is not understood'),
  CONTROL_TOO_LARGE: entry('limit', 413, undefined, false, 'The control frame is larger than this server takes'),
  PATTERN_INVALID: entry('protocol', 400, undefined, false, 'The room pattern is malformed'),
  SUBSCRIPTIONS_EXCEEDED: entry('limit', 429, undefined, false, 'The connection has too many subscriptions'),

  // Connections
  CONNECTION_KIND_UNKNOWN: entry('protocol', 400, undefined, false, 'Join as messenger, repeater or hub'),
  DEVICE_ID_INVALID: entry('protocol', 400, undefined, false, 'The device id is empty, too long or has a control character'),
  HANDSHAKE_INVALID: entry('protocol', 400, undefined, false, 'The WebSocket handshake is malformed'),
  UPGRADE_REQUIRED: entry('protocol', 426, undefined, false, 'This address speaks WebSocket only'),
  ORIGIN_REFUSED: entry('auth', 403, undefined, false, 'Pages of this origin may not connect'),
  CONNECTIONS_EXCEEDED: entry('limit', 503, 1013, true, 'The server has as many connections as it takes'),
  PEER_SLOW: entry('limit', 503, 4000, true, 'The peer read too slowly and its lane overflowed'),
  PEER_STALLED: entry('deadline', 503, 4001, true, 'The peer took no byte within the write timeout'),
  PEER_UNRESPONSIVE: entry('deadline', 408, 4002, true, 'The peer did not answer pings in time'),
  MEMORY_PRESSURE: entry('limit', 503, 4003, true, 'The process holds too much for its peers together, and for this one the most'),
  DRAINING: entry('unavailable', 503, 1012, true, 'The server is stopping or restarting; come back'),
  OVERLOADED: entry('unavailable', 503, 1013, true, 'The server is overloaded; come back later'),

  // Hub links
  LINK_ADDRESS_INVALID: entry('protocol', 400, undefined, false, 'The interconnect address is not a host, host:port or ws URL'),
  LINK_EXISTS: entry('conflict', 409, undefined, false, 'A link to this address exists'),
  LINK_TO_SELF: entry('conflict', 409, undefined, false, 'A hub does not link to itself'),
  LINK_UNREACHABLE: entry('unavailable', 502, undefined, true, 'The hub at this address could not be joined'),
  LINK_NOT_FOUND: entry('not-found', 404, undefined, false, 'There is no link to this address'),
  LINKS_EXCEEDED: entry('limit', 429, undefined, false, 'The hub has as many links as it takes'),

  // Access
  ACCESS_KEY_REQUIRED: entry('auth', 401, 4510, false, 'An access key is needed here'),
  ACCESS_KEY_INVALID: entry('auth', 401, 4511, false, 'The access key is malformed, unknown or not the current one'),
  ACCESS_KEY_EXPIRED: entry('auth', 401, 4512, false, 'The access key has expired'),
  ACCESS_KEY_REVOKED: entry('auth', 401, 4513, false, 'The access key was revoked'),
  ACCESS_KEY_AMBIGUOUS: entry('auth', 400, undefined, false, 'The request carries more than one access key'),
  ACCESS_KIND_REFUSED: entry('auth', 403, 4514, false, 'A key of this kind does not open this door'),
  SEND_DENIED: entry('auth', 403, undefined, false, 'The key may not send this event to this room'),
  RECEIVE_DENIED: entry('auth', 403, undefined, false, 'The key may not receive everything that this room or pattern selects'),
  ACCESS_STALE: entry('unavailable', 503, 4004, true, 'The server cannot hear of access changes at present and so trusts no key'),
  CONNECTION_LIMIT_REACHED: entry('limit', 429, 4005, true, 'The key or its workspace has as many connections as it may'),
  ROOM_LIMIT_REACHED: entry('limit', 429, undefined, false, 'The key or its workspace has as many subscriptions as it may'),
  EVENT_RATE_EXCEEDED: entry('limit', 429, undefined, true, 'The key or its workspace sends more events a second than it may'),
  BYTE_RATE_EXCEEDED: entry('limit', 429, undefined, true, 'The key or its workspace sends more bytes a second than it may'),
  EVENT_DEFINITION_VIOLATED: entry('protocol', 422, undefined, false, 'The event does not fit its definition'),

  // The log and the second protocol
  HELLO_REQUIRED: entry('protocol', 400, undefined, false, 'A messenger of the second protocol says hello first, and once'),
  REQUEST_IN_USE: entry('conflict', 409, undefined, false, 'The connection has a request of this name already'),
  REQUEST_UNKNOWN: entry('not-found', 404, undefined, false, 'The connection has no request of this name'),
  REQUESTS_EXCEEDED: entry('limit', 429, undefined, true, 'The connection has as many requests under way as it may'),
  SINCE_INVALID: entry('protocol', 400, undefined, false, 'The position is malformed, or the log has not come to it yet'),
  EVENT_ID_MISSING: entry('protocol', 400, undefined, false, 'An event that is to be acked needs an id'),
  EVENT_ID_REUSED: entry('conflict', 409, undefined, false, 'The id is that of another event'),
  EVENT_TOO_LARGE: entry('limit', 413, undefined, false, 'The event is larger than the log takes'),
  PUBLISHES_EXCEEDED: entry('limit', 429, undefined, true, 'The connection has as many events without an ack as it may'),
  LOG_UNAVAILABLE: entry('unavailable', 503, undefined, true, 'The log cannot be reached; the event may have been stored, and its id may be tried again'),
  LOG_FULL: entry('limit', 507, undefined, true, 'The log has no room left'),
  LOG_BACKLOGGED: entry('limit', 503, undefined, true, 'As many bytes as may wait to be stored already do'),
  CONSUMER_UNKNOWN: entry('not-found', 404, undefined, false, 'There is no consumer of this name'),
  CONSUMER_EXISTS: entry('conflict', 409, undefined, false, 'A consumer of this name is there with other settings'),
  CONSUMER_INVALID: entry('protocol', 400, undefined, false, 'A setting of the consumer is out of its range'),
  CONSUMERS_EXCEEDED: entry('limit', 429, undefined, false, 'The connection or the workspace has as many consumers as it may'),
  DELIVERY_UNKNOWN: entry('not-found', 404, undefined, false, 'The delivery was settled before, timed out, or never was this member\'s'),
  DEAD_LETTER_UNKNOWN: entry('not-found', 404, undefined, false, 'There is no such dead letter, or it is not yours to see'),
  EVENT_UNKNOWN: entry('not-found', 404, undefined, false, 'Nothing is known of an event with this id, or it is not yours to see'),
  REPLIES_ABSENT: entry('not-found', 404, undefined, false, 'This hub gives no address that replies could go to'),
  REPLY_UNDELIVERABLE: entry('not-found', 404, undefined, false, 'Nobody waits for this reply any more'),
  REPLY_TIMEOUT: entry('deadline', 504, undefined, true, 'Nobody replied in time'),
  DELAY_INVALID: entry('protocol', 400, undefined, false, 'The delay is longer than this hub keeps events, or the room is live only'),
  DELAYED_EXCEEDED: entry('limit', 429, undefined, true, 'As many delayed events as may wait already do'),
  PRESENCE_EXCEEDED: entry('limit', 429, undefined, false, 'The connection or the room has as many present members as it may'),
  PRESENCE_NAME_IN_USE: entry('conflict', 409, undefined, false, 'Somebody else is in the room under this name'),
  ACCESS_WORKSPACE_CHANGED: entry('conflict', 409, undefined, false, 'The key is of another workspace or kind than the connection'),
  LOG_ABSENT: entry('not-found', 404, undefined, false, 'This hub keeps no log: its rooms are live only'),

  // HTTP
  ROUTE_NOT_FOUND: entry('not-found', 404, undefined, false, 'There is nothing at this address'),
  METHOD_NOT_ALLOWED: entry('protocol', 405, undefined, false, 'The method is not allowed here'),
  REQUEST_MALFORMED: entry('protocol', 400, undefined, false, 'The HTTP request is malformed'),
  REQUEST_TIMEOUT: entry('deadline', 408, undefined, true, 'The request did not arrive in time'),
  BODY_TOO_LARGE: entry('limit', 413, undefined, false, 'The body is larger than this server takes'),
  BODY_INVALID_UTF8: entry('protocol', 400, undefined, false, 'The body is not valid UTF-8'),
  JSON_INVALID: entry('protocol', 400, undefined, false, 'The body is not valid JSON'),
  JSON_TOO_DEEP: entry('limit', 400, undefined, false, 'The JSON is nested too deeply'),
  JSON_KEY_FORBIDDEN: entry('protocol', 400, undefined, false, 'The JSON has a key that is not accepted (__proto__)'),
  EVENT_INVALID: entry('protocol', 400, undefined, false, 'The body is not a v2 event'),
  LOG_LEVEL_INVALID: entry('protocol', 400, undefined, false, 'The log level is unknown'),
  UPSTREAM_QUEUE_FULL: entry('limit', 503, undefined, true, 'The hub is away and the queue toward it is full'),
  INTERNAL: entry('internal', 500, 1011, true, 'The server failed'),

  // Management API
  CREDENTIAL_REQUIRED: entry('auth', 401, undefined, false, 'Sign in, or present an account key'),
  CREDENTIAL_INVALID: entry('auth', 401, undefined, false, 'The session or account key is unknown, expired or revoked'),
  LOGIN_FAILED: entry('auth', 401, undefined, false, 'The name or the password is wrong'),
  LOGIN_THROTTLED: entry('limit', 429, undefined, true, 'Too many failed sign-ins; wait'),
  OIDC_UNAVAILABLE: entry('unavailable', 503, undefined, true, 'The identity provider cannot be reached or is not configured'),
  OIDC_FAILED: entry('auth', 401, undefined, false, 'The identity provider did not vouch for this person'),
  FORBIDDEN: entry('auth', 403, undefined, false, 'The role or key does not allow this'),
  RESOURCE_NOT_FOUND: entry('not-found', 404, undefined, false, 'There is no such resource, or it is not yours to see'),
  RESOURCE_EXISTS: entry('conflict', 409, undefined, false, 'A resource of this name exists'),
  RESOURCE_IN_USE: entry('conflict', 409, undefined, false, 'Something else still needs this resource'),
  RESOURCE_INVALID: entry('protocol', 400, undefined, false, 'The request has fields that are missing, unknown or wrong'),
  PRECONDITION_FAILED: entry('conflict', 412, undefined, false, 'The resource has changed since it was read'),
  IDEMPOTENCY_KEY_INVALID: entry('protocol', 400, undefined, false, 'An Idempotency-Key has 16 to 255 printable ASCII characters'),
  IDEMPOTENCY_KEY_REUSED: entry('conflict', 422, undefined, false, 'This Idempotency-Key was used with another request'),
  IDEMPOTENCY_IN_PROGRESS: entry('conflict', 409, undefined, true, 'The first request with this Idempotency-Key is still under way'),
  CURSOR_INVALID: entry('protocol', 400, undefined, false, 'The cursor is not one of this listing'),
  MEDIA_TYPE_UNSUPPORTED: entry('protocol', 415, undefined, false, 'A body of this media type is not taken here'),
  RATE_LIMITED: entry('limit', 429, undefined, true, 'Too many requests; wait as Retry-After says'),
  PASSWORD_UNFIT: entry('protocol', 400, undefined, false, 'The password is too short, too long or too common'),
  STORE_UNAVAILABLE: entry('unavailable', 503, undefined, true, 'The database cannot be reached'),

  // Messenger library
  HUB_URL_INVALID: entry('protocol', 400, undefined, false, 'The hub address is not a ws, wss, http or https URL'),
  CALLBACK_FAILED: entry('internal', 500, undefined, false, 'A callback of the application threw'),
  REFUSED_FOR_GOOD: entry('protocol', 400, undefined, false, 'The hub closed the connection and asked not to come back'),
  MESSENGER_CLOSED: entry('conflict', 409, undefined, false, 'The messenger is closed'),
  PUBLISH_QUEUE_FULL: entry('limit', 429, undefined, true, 'The messenger holds as many unsent bytes as it may'),
  EVENTS_MISSED: entry('not-found', 410, undefined, false, 'Events of the subscription are past retention or unreadable'),
  SUBSCRIPTION_OVERFLOW: entry('limit', 429, undefined, true, 'The subscription was not read and its buffer is full'),
  ABORTED: entry('deadline', 408, undefined, true, 'The caller aborted'),
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof ERRORS;

/** Tells a code of this catalogue from other text, e.g. a newer peer's code. */
export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERRORS, text);
}

/** A refusal with its catalogue code; `detail` says what was wrong this time and never holds a secret. */
export class CarillonError extends Error {
  readonly code: ErrorCode;
  readonly detail: string | undefined;

  constructor(code: ErrorCode, detail?: string, options?: ErrorOptions) {
    super(detail === undefined ? ERRORS[code].title : `${ERRORS[code].title}: ${detail}`, options);
    this.name = 'CarillonError';
    this.code = code;
    this.detail = detail;
  }

  get kind(): ErrorKind {
    return ERRORS[this.code].kind;
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }
}

/** Why a delivery that was due did not happen. Each is the `reason` label of a drop counter. */
export const DROP_REASONS = {
  'bus-away': 'The hub had no connection to NATS, so hubs of its cluster did not get the event',
  'bus-backlogged': 'The connection to NATS took no more bytes',
  'bus-too-large': 'The frame does not fit a NATS message of this cluster',
  denied: 'No connected repeater may receive the room, or a link may not carry it',
  duplicate: 'The event had come by another way already; nobody missed it',
  expired: 'Its time to live was over before it was delivered',
  'hub-away': 'The queue toward the hub overflowed while the hub was away (oldest first)',
  'link-down': 'The hub link was down when the event came by',
  'log-refused': 'The log did not take the event (full, away or behind), and its sender speaks a protocol that hears of it only by an error frame',
  'memory-pressure': 'The process was over its bound for all lanes and cut this peer',
  'no-repeater': 'No repeater was connected when its turn came',
  'peer-gone': 'The peer closed while the event waited in its lane',
  'peer-slow': 'The lane of the peer was full and the peer was cut',
  'reply-gone': 'Nobody waited for the reply any more',
  'target-failed': 'A send list target could not be reached or answered with an error',
  'target-overflow': 'The queue of a send list target was full',
} as const;

export type DropReason = keyof typeof DROP_REASONS;
