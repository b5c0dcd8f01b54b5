import type { IncomingMessage } from 'node:http';

export type RequestBody = { readonly ok: true; readonly bytes: Buffer } | { readonly ok: false; readonly why: 'too-large' | 'too-many' | 'gone' };

/**
 * How much of a body that is refused is read and thrown away, so that a sender that writes all before it reads sees
 * the answer instead of a reset connection.
 */
const DISCARD_MAX_BYTES = 16_777_216;

/** Reads request bodies, each bounded, all together bounded, and those of one holder to half of that: slow senders hold what they have sent so far. */
export class BodyReader {
  readonly #maxBytes: number;
  readonly #totalMaxBytes: number;
  #heldBytes = 0;
  readonly #heldBy = new Map<string, number>();

  constructor({ maxBytes, totalMaxBytes }: { readonly maxBytes: number; readonly totalMaxBytes: number }) {
    this.#maxBytes = maxBytes;
    this.#totalMaxBytes = totalMaxBytes;
  }

  /** Reads one body, for a holder where there are several that share this. How long it may take is the server's `requestTimeout`. */
  async read(request: IncomingMessage, holder?: string): Promise<RequestBody> {
    if (Number(request.headers['content-length'] ?? 0) > this.#maxBytes + DISCARD_MAX_BYTES) return { ok: false, why: 'too-large' };
    const pieces: Buffer[] = [];
    let length = 0;
    let held = 0;
    let why: 'too-large' | 'too-many' | undefined;
    const release = (): void => {
      this.#hold(-held, holder);
      held = 0;
    };
    try {
      for await (const piece of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
        length += piece.length;
        if (length > this.#maxBytes + DISCARD_MAX_BYTES) break;
        if (why !== undefined) continue;
        if (length > this.#maxBytes) why = 'too-large';
        else if (!this.#fits(piece.length, holder)) why = 'too-many';
        if (why === undefined) {
          pieces.push(piece);
          held += piece.length;
          this.#hold(piece.length, holder);
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

  #fits(bytes: number, holder: string | undefined): boolean {
    if (this.#heldBytes + bytes > this.#totalMaxBytes) return false;
    // One body fits at any rate.
    return holder === undefined || (this.#heldBy.get(holder) ?? 0) + bytes <= Math.max(this.#maxBytes, this.#totalMaxBytes / 2);
  }

  #hold(bytes: number, holder: string | undefined): void {
    this.#heldBytes += bytes;
    if (holder === undefined) return;
    const held = (this.#heldBy.get(holder) ?? 0) + bytes;
    if (held === 0) this.#heldBy.delete(holder);
    else this.#heldBy.set(holder, held);
  }
}
