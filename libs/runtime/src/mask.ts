import { stdSerializers } from 'pino';

/** What stands where a secret stood, in logs and in printed configuration. */
export const REDACTED = '[redacted]';

/** Field names whose values never reach a log, compared without case, hyphens and underscores. */
const SECRET_FIELDS: ReadonlySet<string> = new Set(['key', 'accesskey', 'authorization', 'password', 'secret', 'token']);

/** Deeper fields are cut: the same limit as pino's own `depthLimit`. */
const MAX_DEPTH = 5;

const KEY_IN_QUERY = /([?&](?:key|access_?key|token)=)[^&#\s"']*/gi;
/** Looks behind, so that `/k/k/<key>` hides both. */
const KEY_IN_PATH = /(?<=(?:^|\/)k\/)[^/?#\s"']+/g;
/** A scheme has at most 16 characters here, so that a long text of a peer's making cannot make the search quadratic. */
const USER_INFO = /(\b[a-z][a-z0-9+.-]{0,15}:\/\/)[^/?#\s"']*@/gi;

/**
 * Masks what a URL, or a text with a URL in it, may carry of a credential: `?key=…`, the path `/k/<key>/`, and `user:password@`.
 * Everything else is left as it is; masking twice changes nothing.
 */
export function maskUrl(url: string): string {
  return url.replace(USER_INFO, `$1${REDACTED}@`).replace(KEY_IN_QUERY, `$1${REDACTED}`).replace(KEY_IN_PATH, REDACTED);
}

/**
 * A copy of log fields that is safe to print: secret fields at any depth are replaced, every text goes through `maskUrl`, errors become
 * plain objects (their own fields included), a cycle or a second mention becomes `[repeated]`, what is deeper than five levels `[deep]`.
 */
export function redactFields(fields: object): Record<string, unknown> {
  const copy = redactValue(fields, 0, new Set());
  return typeof copy === 'object' && copy !== null && !Array.isArray(copy) ? (copy as Record<string, unknown>) : { fields: copy };
}

function redactValue(value: unknown, depth: number, seen: Set<object>): unknown {
  if (typeof value === 'string') return maskUrl(value);
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof URL) return maskUrl(value.href);
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if ('toJSON' in value && typeof value.toJSON === 'function') return value;
  if (seen.has(value)) return '[repeated]';
  if (depth >= MAX_DEPTH) return '[deep]';
  seen.add(value);
  if (Array.isArray(value)) return value.map((item) => redactValue(item, depth + 1, seen));
  const plain: object = value instanceof Error ? stdSerializers.err(value) : value;
  const copy: Record<string, unknown> = {};
  for (const [name, inner] of Object.entries(plain)) {
    copy[name] = isSecretField(name) && inner !== undefined ? REDACTED : redactValue(inner, depth + 1, seen);
  }
  return copy;
}

function isSecretField(name: string): boolean {
  return SECRET_FIELDS.has(name.replace(/[-_]/g, '').toLowerCase());
}
