import { SUBPROTOCOL_V2 } from '@carillon/wire';

/**
 * How long a hub that said it does not know the second protocol is dialled without the offer; then it may have been
 * replaced by one that does. Only a hub that has to be dialled again is asked again.
 */
const PLAIN_MEMORY_MS = 600_000;

/**
 * Whether the next dial offers the second protocol. A hub that ignores the offer (all originals) leaves the client no
 * choice but to fail the connection (RFC 6455 §4.1), so it is dialled again at once without. Where the platform does not
 * say why a handshake failed, that is a guess: it is not remembered, and not made of a hub that has taken the offer
 * before, since a hub that is merely busy must not cost a messenger its acks.
 */
export class Offer {
  readonly #isMade: boolean;
  readonly #now: () => number;
  #isTaken = false;
  #isPlainNext = false;
  #plainUntil = 0;

  constructor(isMade: boolean, now: () => number) {
    this.#isMade = isMade;
    this.#now = now;
  }

  /** The subprotocols of the next dial. */
  next(): readonly string[] {
    const isPlain = !this.#isMade || this.#isPlainNext || this.#now() < this.#plainUntil;
    this.#isPlainNext = false;
    return isPlain ? [] : [SUBPROTOCOL_V2];
  }

  /** The hub agreed. */
  taken(): void {
    this.#isTaken = true;
  }

  /** The hub ignored it, or perhaps did; says whether to dial at once without. */
  ignored(isCertain: boolean): boolean {
    if (isCertain) this.#plainUntil = this.#now() + PLAIN_MEMORY_MS;
    else if (this.#isTaken) return false;
    this.#isPlainNext = true;
    return true;
  }
}
