import type { Bus, BusDelivery, BusSubscription } from '@carillon/bus';
import { isAllPattern, patternSubject } from '@carillon/wire';

/**
 * What a hub asks NATS for: the rooms that somebody on it wants and nothing else. Wanting everything (`*`, or a hub
 * link, which gets all) replaces the single rooms, so that an event is sent here once:
 *
 *   some ──first "all"──▶ all: subscribe to everything, then drop the rest
 *   all ──last "all" gone──▶ some: subscribe to the rest, then drop everything
 *
 * The new subscription is in force before the old one goes; what comes by both in between is told by its id.
 */
export class ClusterInterest {
  readonly #bus: Bus;
  readonly #prefix: string;
  readonly #deliver: (delivery: BusDelivery) => void;
  /** Subjects wanted, and by how many patterns. */
  readonly #wanted = new Map<string, number>();
  readonly #subscriptions = new Map<string, BusSubscription>();
  #all: BusSubscription | undefined = undefined;
  #allWanted = 0;

  constructor(bus: Bus, options: { readonly prefix: string; readonly deliver: (delivery: BusDelivery) => void }) {
    this.#bus = bus;
    this.#prefix = options.prefix;
    this.#deliver = options.deliver;
  }

  get subscriptions(): number {
    return this.#subscriptions.size + (this.#all === undefined ? 0 : 1);
  }

  add(pattern: string): void {
    if (isAllPattern(pattern)) {
      this.addAll();
      return;
    }
    const subject = patternSubject(pattern);
    const count = this.#wanted.get(subject) ?? 0;
    this.#wanted.set(subject, count + 1);
    if (count === 0 && this.#all === undefined) this.#subscribe(subject);
  }

  remove(pattern: string): void {
    if (isAllPattern(pattern)) {
      this.removeAll();
      return;
    }
    const subject = patternSubject(pattern);
    const count = (this.#wanted.get(subject) ?? 0) - 1;
    if (count > 0) {
      this.#wanted.set(subject, count);
      return;
    }
    this.#wanted.delete(subject);
    this.#drop(subject);
  }

  addAll(): void {
    this.#allWanted += 1;
    if (this.#all !== undefined) return;
    const all = this.#bus.subscribe(`${this.#prefix}.>`, { deliver: this.#deliver });
    this.#all = all;
    void all.active.then(
      () => {
        if (this.#all === all) for (const subject of [...this.#subscriptions.keys()]) this.#drop(subject);
      },
      () => undefined, // the bus closed first
    );
  }

  removeAll(): void {
    this.#allWanted -= 1;
    const all = this.#all;
    if (this.#allWanted > 0 || all === undefined) return;
    this.#all = undefined;
    const restored = [...this.#wanted.keys()].map((subject) => this.#subscribe(subject).active);
    void Promise.allSettled(restored).then(() => all.unsubscribe());
  }

  #subscribe(subject: string): BusSubscription {
    const known = this.#subscriptions.get(subject);
    if (known !== undefined) return known;
    const subscription = this.#bus.subscribe(`${this.#prefix}.${subject}`, { deliver: this.#deliver });
    this.#subscriptions.set(subject, subscription);
    return subscription;
  }

  #drop(subject: string): void {
    const subscription = this.#subscriptions.get(subject);
    this.#subscriptions.delete(subject);
    void subscription?.unsubscribe();
  }
}
