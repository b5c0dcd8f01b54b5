import type { DefinitionEntry, DeviceEntry, FeedRecord, RoomEntry, WorkspaceEntry } from '@carillon/schemas';

import type { AccessLog } from './access-log.ts';
import { EventDefinitionCheck } from './event-definition-check.ts';
import { UsageCount } from './usage-meter.ts';

interface HeldDefinition {
  readonly seq: number;
  readonly entry: DefinitionEntry;
  readonly check: EventDefinitionCheck;
}

/** What a copy holds of one workspace: its records by feed key, tombstones too, and what is looked up in them. */
export class WorkspaceRecords {
  readonly records = new Map<string, FeedRecord>();
  readonly keyIds = new Set<string>();
  /** Somebody without a key of this workspace counts by its usage, for good. */
  isLent = false;
  /** What all its keys share. */
  readonly usage: UsageCount;
  readonly #log: AccessLog;
  readonly #rooms = new Map<string, RoomEntry>();
  readonly #devices = new Map<string, DeviceEntry>();
  readonly #definitions = new Map<string, HeldDefinition>();
  #entry: WorkspaceEntry | undefined;
  #roomList: readonly RoomEntry[] | undefined;
  #deviceList: readonly DeviceEntry[] | undefined;
  #definitionsByName: ReadonlyMap<string, HeldDefinition> | undefined;

  /** `clock`: milliseconds of a clock that does not go back. */
  constructor({ clock, log }: { readonly clock: () => number; readonly log: AccessLog }) {
    this.usage = new UsageCount({}, clock);
    this.#log = log;
  }

  /** Undefined until the workspace itself is known, and after its end. */
  get entry(): WorkspaceEntry | undefined {
    return this.#entry;
  }

  set entry(entry: WorkspaceEntry | undefined) {
    this.#entry = entry;
    this.usage.limits = entry?.limits ?? {};
  }

  /** Whether nothing would be forgotten with it. */
  get isEmpty(): boolean {
    return this.records.size === 0 && !this.isLent && this.usage.connections === 0 && this.usage.rooms === 0;
  }

  /** Drops all records and what was read in them; what is in use stays counted. */
  clear(): void {
    this.entry = undefined;
    for (const held of [this.records, this.keyIds, this.#rooms, this.#devices, this.#definitions]) held.clear();
    this.#roomList = this.#deviceList = this.#definitionsByName = undefined;
  }

  get rooms(): readonly RoomEntry[] {
    return (this.#roomList ??= [...this.#rooms.values()]);
  }

  get devices(): readonly DeviceEntry[] {
    return (this.#deviceList ??= [...this.#devices.values()]);
  }

  definition(name: string): EventDefinitionCheck | undefined {
    this.#definitionsByName ??= byName(this.#definitions.values());
    return this.#definitionsByName.get(name)?.check;
  }

  setRoom(id: string, entry: RoomEntry | null): void {
    this.#roomList = undefined;
    put(this.#rooms, id, entry);
  }

  setDevice(id: string, entry: DeviceEntry | null): void {
    this.#deviceList = undefined;
    put(this.#devices, id, entry);
  }

  setDefinition(id: string, seq: number, entry: DefinitionEntry | null): void {
    this.#definitionsByName = undefined;
    const held = this.#definitions.get(id);
    // Compiling costs milliseconds: a definition of the same revision keeps what was compiled.
    const isSame = held !== undefined && entry !== null && held.entry.version === entry.version && held.entry.name === entry.name;
    put(this.#definitions, id, entry === null ? null : { seq, entry, check: isSame ? held.check : new EventDefinitionCheck(entry, this.#log) });
  }
}

function put<T>(things: Map<string, T>, id: string, thing: T | null): void {
  if (thing === null) things.delete(id);
  else things.set(id, thing);
}

/** Of two of one name, which a change of names may show for a moment, the later one counts. */
function byName(definitions: Iterable<HeldDefinition>): ReadonlyMap<string, HeldDefinition> {
  return new Map([...definitions].sort((left, right) => left.seq - right.seq).map((held) => [held.entry.name, held]));
}
