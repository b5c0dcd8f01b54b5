import { formatControl, type ControlFrame, type ErrorCode } from '@carillon/wire';

/** Places that one frame tells: 90 bytes each at the most, well under the bound on text frames. */
const PLACES_MAX = 512;

type AckClass = Extract<ControlFrame, { readonly op: 'published' }>['class'];
type Place = readonly [id: string, seq: number];

export interface PublishAcksOptions {
  readonly send: (text: string) => void;
  /** Runs a function at the end of the current turn; `setImmediate` in a process. */
  readonly schedule: (flush: () => void) => void;
}

/** What a publisher is told of its events: what is stored in one turn is told in one frame, since storing is grouped too. */
export class PublishAcks {
  readonly #options: PublishAcksOptions;
  readonly #places = new Map<AckClass, Place[]>();
  #scheduled = false;

  constructor(options: PublishAcksOptions) {
    this.#options = options;
  }

  add(ackClass: AckClass, id: string, seq: number): void {
    const places = this.#places.get(ackClass);
    if (places === undefined) this.#places.set(ackClass, [[id, seq]]);
    else places.push([id, seq]);
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#options.schedule(() => this.#flush());
  }

  /** A refusal keeps its place among the acks. */
  refuse(code: ErrorCode, { id, detail }: { readonly id: string; readonly detail?: string | undefined }): void {
    this.#flush();
    this.#options.send(formatControl({ op: 'error', code, request: id, ...(detail === undefined || detail === '' ? {} : { detail }) }));
  }

  #flush(): void {
    this.#scheduled = false;
    for (const [ackClass, places] of this.#places) {
      for (let at = 0; at < places.length; at += PLACES_MAX) this.#options.send(formatControl({ op: 'published', class: ackClass, events: places.slice(at, at + PLACES_MAX) }));
    }
    this.#places.clear();
  }
}
