import { CarillonError } from '@carillon/wire';
import { abortable, type Settle } from './abort.ts';

/** What takes frames: a connection that is open. */
export interface FrameSink {
  readonly isOpen: boolean;
  readonly bufferedBytes: number;
  send(frame: Uint8Array): void;
}

/**
 * The socket keeps what it cannot write yet, without a bound of its own; beyond this much frames wait here, where there
 * is one. 1 MiB every `FLUSH_RETRY_MS` (session.ts) is 100 MB/s.
 */
export const SOCKET_MAX_BYTES = 1_048_576;
/** Small frames cost more memory than their bytes say. */
export const OUTBOUND_MAX_FRAMES = 65_536;

interface Waiting {
  readonly frame: Uint8Array;
  readonly settle: Settle<void>;
}

/** Frames on their way to a socket, in order. A publish is settled when its frame is handed over, or never will be. */
export class Outbound {
  readonly #maxBytes: number;
  readonly #waiting = new Set<Waiting>();
  #bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#waiting.size === 0;
  }

  /** Hands a frame over or keeps it. Codes: PUBLISH_QUEUE_FULL, ABORTED. */
  publish(frame: Uint8Array, sink: FrameSink | undefined, signal?: AbortSignal): Promise<void> {
    if (this.isEmpty && takes(sink)) {
      sink.send(frame);
      return Promise.resolve();
    }
    if (this.#bytes + frame.length > this.#maxBytes || this.#waiting.size >= OUTBOUND_MAX_FRAMES) {
      return Promise.reject(new CarillonError('PUBLISH_QUEUE_FULL', `${this.#bytes} of ${this.#maxBytes} bytes wait`));
    }
    return abortable<void>(signal, (settle) => {
      const waiting = { frame, settle };
      this.#waiting.add(waiting);
      this.#bytes += frame.length;
      return () => this.#remove(waiting);
    });
  }

  /** Hands over what the sink takes. */
  flush(sink: FrameSink): void {
    for (const waiting of this.#waiting) {
      if (!takes(sink)) return;
      this.#remove(waiting);
      sink.send(waiting.frame);
      waiting.settle.resolve();
    }
  }

  /** Gives up what waits. */
  reject(error: Error): void {
    for (const waiting of this.#waiting) waiting.settle.reject(error);
    this.#waiting.clear();
    this.#bytes = 0;
  }

  #remove(waiting: Waiting): void {
    if (this.#waiting.delete(waiting)) this.#bytes -= waiting.frame.length;
  }
}

/** Whether it is open and not yet behind. */
export function takes(sink: FrameSink | undefined): sink is FrameSink {
  return sink !== undefined && sink.isOpen && sink.bufferedBytes < SOCKET_MAX_BYTES;
}
