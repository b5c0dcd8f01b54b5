import type { Principal } from '@carillon/access';

import type { Caller, Held, Holders } from './holders.ts';

/** Somebody at the other end of a connection. A live connection may come by a new key: read `principal` when it is needed, keep the holder. */
export interface Identified {
  readonly principal: Principal;
}

/** Whom a connection is taken for now, and that it is held open in that name. */
export class Identity implements Identified {
  readonly #holders: Holders;
  readonly #end: Held['end'];
  #caller: Caller;
  #release: () => void;

  constructor(caller: Caller, { holders, end }: { readonly holders: Holders; readonly end: Held['end'] }) {
    this.#holders = holders;
    this.#end = end;
    this.#caller = caller;
    this.#release = holders.hold({ caller, end });
  }

  get principal(): Principal {
    return this.#caller.principal;
  }

  get caller(): Caller {
    return this.#caller;
  }

  /** From now on it is this caller: what ends with the one before does not end it any more. */
  become(caller: Caller): void {
    const release = this.#release;
    this.#release = this.#holders.hold({ caller, end: this.#end });
    this.#caller = caller;
    release();
  }

  /** It has ended by itself; idempotent. */
  release(): void {
    this.#release();
  }
}
