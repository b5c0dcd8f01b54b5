import type { Logger } from '@carillon/runtime';
import type { DeviceEntry } from '@carillon/schemas';

import { configuredDevices } from './configured-devices.ts';
import type { SendList } from './send-list.ts';

export interface SendListSourcesOptions {
  readonly ownId: string;
  /** What the file says; an empty list when there is none. */
  readonly file: SendList;
  /** Every device of the configuration, those of other repeaters included. */
  readonly devices: () => readonly DeviceEntry[];
  /** Another list is to be in force. */
  readonly changed: (list: SendList) => void;
  readonly log: Logger;
}

/** The send list in force is that of the file and the devices of the configuration together; either changes by itself. */
export class SendListSources {
  readonly #options: SendListSourcesOptions;
  #file: SendList;
  #pending: NodeJS.Immediate | undefined = undefined;

  constructor(options: SendListSourcesOptions) {
    this.#options = options;
    this.#file = options.file;
  }

  /** Both together, as they are now. */
  merged(): SendList {
    const { devices, log, ownId } = this.#options;
    const { targets, unusable } = configuredDevices(devices(), ownId);
    for (const fields of unusable) log.warn(fields, 'a device of the configuration cannot be a target');
    return this.#file.with(targets);
  }

  fileChanged(file: SendList): void {
    this.#file = file;
    this.#options.changed(this.merged());
  }

  /** A device was added, changed or taken away: many that change together make one new list, at the end of the turn. */
  devicesChanged(): void {
    this.#pending ??= setImmediate(() => {
      this.#pending = undefined;
      const list = this.merged();
      this.#options.log.info({ targets: list.targets.length }, 'the devices of the configuration changed');
      this.#options.changed(list);
    });
  }

  stop(): void {
    clearImmediate(this.#pending);
    this.#pending = undefined;
  }
}
