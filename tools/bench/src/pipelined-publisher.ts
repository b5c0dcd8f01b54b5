import { parseControl, SUBPROTOCOL_V2 } from '@carillon/wire';

import { binaryFrame, RawPeer } from './raw-peer.ts';
import type { Subject } from './subject.ts';

/** Publishes to one room as fast as acks come back, with so many events in flight. */
export interface PublisherOptions {
  readonly room: string;
  readonly eventBytes: number;
  readonly inFlight: number;
  /** Ids begin with it. */
  readonly name: string;
}

const hex = (value: number): string => value.toString(16).padStart(16, '0');

export class PipelinedPublisher {
  acked = 0;
  refused = 0;
  readonly #peer: RawPeer;
  readonly #options: PublisherOptions;
  #sent = 0;
  #wanted = 0;
  #isFilling = false;
  #done: (() => void) | undefined;

  private constructor(peer: RawPeer, options: PublisherOptions) {
    this.#peer = peer;
    this.#options = options;
  }

  static async connect({ port, path }: Pick<Subject, 'port' | 'path'>, options: PublisherOptions): Promise<PipelinedPublisher> {
    const peer: RawPeer = await RawPeer.connect({ port, path, protocol: SUBPROTOCOL_V2, onText: (text) => publisher.#hear(text) });
    const publisher = new PipelinedPublisher(peer, options);
    peer.say({ op: 'hello', session: options.name });
    return publisher;
  }

  /** Publishes so many; resolves when all are answered. */
  publish(count: number): Promise<void> {
    this.#wanted += count;
    return new Promise((resolve) => {
      this.#done = resolve;
      this.#fill();
    });
  }

  destroy(): void {
    this.#peer.destroy();
  }

  #hear(text: string): void {
    const control = parseControl(text);
    if (!control.ok) return;
    if (control.frame.op === 'published') this.acked += control.frame.events.length;
    else if (control.frame.op === 'error') this.refused += 1;
    else return;
    if (this.acked + this.refused >= this.#wanted) this.#done?.();
    else if (!this.#isFilling) {
      this.#isFilling = true;
      setImmediate(() => this.#fill());
    }
  }

  #fill(): void {
    this.#isFilling = false;
    const { eventBytes, inFlight, name, room } = this.#options;
    const frames: Buffer[] = [];
    while (this.#sent < this.#wanted && this.#sent - this.acked - this.refused < inFlight) {
      const start = `${room}\tid=${name}-${this.#sent}\n{"n":"${hex(this.#sent)}","t":"${hex(Math.round(performance.now() * 1_000))}","f":"`;
      frames.push(binaryFrame(Buffer.from(`${start}${'x'.repeat(Math.max(0, eventBytes - start.length - 2))}"}`)));
      this.#sent += 1;
    }
    if (frames.length > 0) this.#peer.send(Buffer.concat(frames));
  }
}
