import { LogError, type ConsumerSpec, type DeadDelivery, type LogConsumer } from './event-log.ts';
import { SEQ_END } from './lmdb-keys.ts';
import { consumerNote, isSameSpec, LmdbConsumer, owedEntries, type ConsumerContext } from './lmdb-consumer.ts';
import { readNote } from './lmdb-records.ts';

/** The consumers of a log, by workspace and name. */
export class LmdbConsumers {
  readonly #context: ConsumerContext;
  readonly #consumers = new Map<string, LmdbConsumer>();
  /** Being made, so that two who join at once make one. */
  readonly #making = new Map<string, Promise<LmdbConsumer>>();
  #lastNumber = 0;
  #isClosed = false;

  /** Restores what is stored; a consumer whose record is damaged is told of, and is made anew by who joins it. */
  constructor(context: ConsumerContext) {
    this.#context = context;
    for (const { key, value } of context.store.consumers.getRange({})) {
      this.#lastNumber = Math.max(this.#lastNumber, key);
      const note = readNote(value) as { readonly spec: ConsumerSpec; readonly floor: number } | undefined;
      if (note === undefined) context.log.warn({ consumer: key }, 'a consumer\'s record is damaged: it begins anew when it is joined');
      else this.#consumers.set(keyOf(note.spec.workspaceId, note.spec.name), new LmdbConsumer(context, { number: key, ...note }));
    }
  }

  async join(spec: ConsumerSpec, dead: (dead: DeadDelivery) => Promise<void>): Promise<LogConsumer> {
    const key = keyOf(spec.workspaceId, spec.name);
    const consumer = this.#consumers.get(key) ?? (await (this.#making.get(key) ?? this.#make(key, spec)));
    if (!isSameSpec(spec, consumer.spec)) throw new LogError('CONSUMER_EXISTS', `The consumer ${spec.name} is there with other settings.`);
    return consumer.join(dead);
  }

  #make(key: string, spec: ConsumerSpec): Promise<LmdbConsumer> {
    const number = (this.#lastNumber += 1);
    const floor = this.#beginning(spec);
    const making = this.#context.commits
      .write(() => () => void this.#context.store.consumers.put(number, consumerNote(spec, floor)))
      .then(() => {
        const consumer = new LmdbConsumer(this.#context, { number, spec, floor });
        this.#consumers.set(key, consumer);
        if (this.#isClosed) consumer.end(new LogError('LOG_CLOSED', 'The log is closed.'));
        return consumer;
      })
      .finally(() => this.#making.delete(key));
    this.#making.set(key, making);
    return making;
  }

  #beginning({ from }: ConsumerSpec): number {
    const { commits, reader } = this.#context;
    if (from === 'start') return 0;
    if (from === 'now') return commits.head;
    return 'seq' in from ? from.seq : reader.sequenceAt(from.atMs);
  }

  specs(workspaceId: string): readonly ConsumerSpec[] {
    return [...this.#consumers.values()].map(({ spec }) => spec).filter((spec) => spec.workspaceId === workspaceId);
  }

  async delete(workspaceId: string, name: string): Promise<void> {
    const key = keyOf(workspaceId, name);
    const consumer = this.#consumers.get(key);
    if (consumer === undefined) throw new LogError('CONSUMER_UNKNOWN', `There is no consumer ${name}.`);
    this.#consumers.delete(key);
    consumer.end(new LogError('CONSUMER_UNKNOWN', `The consumer ${name} was deleted.`));
    const { store, commits } = this.#context;
    await commits.write((commit) => {
      const keys = [...store.owed.getKeys({ start: { number: consumer.number, seq: 0 }, end: { number: consumer.number, seq: SEQ_END } })];
      commit.grow({ entries: owedEntries(keys.length) });
      return () => {
        for (const owed of keys) store.owed.remove(owed);
        store.consumers.remove(consumer.number);
      };
    });
  }

  async deleteWorkspace(workspaceId: string): Promise<void> {
    for (const { name } of this.specs(workspaceId)) await this.delete(workspaceId, name);
  }

  close(): void {
    this.#isClosed = true;
    for (const consumer of this.#consumers.values()) consumer.end(new LogError('LOG_CLOSED', 'The log is closed.'));
  }
}

const keyOf = (workspaceId: string, name: string): string => `${name}\0${workspaceId}`;
