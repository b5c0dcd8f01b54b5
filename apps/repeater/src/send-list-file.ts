import { readFile, stat } from 'node:fs/promises';

import type { Logger } from '@carillon/runtime';

import { readSendList, type SendList, type SendListOptions } from './send-list.ts';

export interface SendListFileOptions extends SendListOptions {
  readonly path: string;
  readonly checkMs: number;
  readonly log: Logger;
  /** A changed file was read and is in force. */
  readonly changed: (list: SendList) => void;
}

/**
 * The send list's file. It is looked at by its modification time rather than watched: file systems of small boxes
 * (overlays, network mounts, mounted ConfigMaps) lose watch events. A file that became wrong changes nothing but the log.
 */
export class SendListFile {
  readonly #options: SendListFileOptions;
  #version = '';
  #timer: NodeJS.Timeout | undefined = undefined;
  #checking: Promise<void> = Promise.resolve();

  constructor(options: SendListFileOptions) {
    this.#options = options;
  }

  /** Reads the file for the first time; rejects with every problem when it cannot be used. */
  async load(): Promise<SendList> {
    const { path } = this.#options;
    this.#version = await versionOf(path);
    const read = readSendList(await readFile(path, 'utf8'), this.#options);
    if (!read.ok) throw new Error(`The send list ${path} cannot be used:\n${read.problems.map((problem) => `  ${problem}`).join('\n')}`);
    return read.list;
  }

  start(): void {
    this.#timer ??= setInterval(() => {
      this.#checking = this.#checking.then(() => this.#check());
    }, this.#options.checkMs).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#checking;
  }

  async #check(): Promise<void> {
    const { path, log, changed } = this.#options;
    try {
      const version = await versionOf(path);
      if (version === this.#version) return;
      this.#version = version;
      const read = readSendList(await readFile(path, 'utf8'), this.#options);
      if (read.ok) {
        log.info({ path, targets: read.list.targets.length }, 'the send list changed');
        changed(read.list);
      } else {
        log.error({ path, problems: read.problems }, 'the changed send list cannot be used; the old one stays');
      }
    } catch (error) {
      // Told once for each way in which it is gone.
      const reason = `unreadable: ${error instanceof Error ? error.message : String(error)}`;
      if (reason !== this.#version) log.error({ path, error }, 'the send list cannot be read; the old one stays');
      this.#version = reason;
    }
  }
}

async function versionOf(path: string): Promise<string> {
  const { mtimeMs, size, ino } = await stat(path);
  return `${mtimeMs} ${size} ${ino}`;
}
