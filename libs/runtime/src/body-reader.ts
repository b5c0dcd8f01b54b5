import type { IncomingMessage } from 'node:http';

export type RequestBody = { readonly ok: true; readonly bytes: Buffer } | { readonly ok: false; readonly why: 'too-large' | 'too-many' | 'gone' };

/**
 * How much of a body that is refused is read and thrown away, so that a sender that writes all before it reads sees
 * the answer instead of a reset connection.
 */
const DISCARD_MAX_BYTES = 16_777_216;

/** Reads request bodies, each bounded and all together bounded: slow senders hold what they have sent so far. */
export class BodyReader {
  readonly #maxBytes: number;
  readonly #totalMaxBytes: number;
  #heldBytes = 0;

  constructor({ maxBytes, totalMaxBytes }: { readonly maxBytes: number; readonly totalMaxBytes: number }) {
    this.#maxBytes = maxBytes;
    this.#totalMaxBytes = totalMaxBytes;
  }

  /** Reads one body. How long it may take is the server's `requestTimeout`. */
  async read(request: IncomingMessage): Promise<RequestBody> {
    if (Number(request.headers['content-length'] ?? 0) > this.#maxBytes + DISCARD_MAX_BYTES) return { ok: false, why: 'too-large' };
    const pieces: Buffer[] = [];
    let length = 0;
    let held = 0;
    let why: 'too-large' | 'too-many' | undefined;
    const release = (): void => {
      this.#heldBytes -= held;
      held = 0;
    };
    try {
      for await (const piece of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        length += piece.length;
        if (length > this.#maxBytes + DISCARD_MAX_BYTES) break;
        if (why !== undefined) continue;
        if (length > this.#maxBytes) why = 'too-large';
        else if (this.#heldBytes + piece.length > this.#totalMaxBytes) why = 'too-many';
        if (why === undefined) {
          pieces.push(piece);
          held += piece.length;
          this.#heldBytes += piece.length;
        } else {
          pieces.length = 0;
          release();
        }
      }
    } catch {
      return { ok: false, why: 'gone' };
    } finally {
      release();
    }
    return why === undefined ? { ok: true, bytes: Buffer.concat(pieces) } : { ok: false, why };
  }
}
