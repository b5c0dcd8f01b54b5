import { execFile } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';

const OUTPUT_MAX_BYTES = 8 * 1024 * 1024;

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** 60,000 by default. */
  readonly timeoutMs?: number;
}

/** Runs a program to its end without a shell and gives its standard output; a failure throws with the end of what it printed. */
export function runCommand(file: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { env, cwd, timeoutMs = 60_000 } = options;
  return new Promise((resolve, reject) => {
    execFile(
      file,
      args,
      { env: { ...process.env, ...env }, ...(cwd === undefined ? {} : { cwd }), timeout: timeoutMs, maxBuffer: OUTPUT_MAX_BYTES },
      (error, stdout, stderr) => {
        if (error === null) return resolve(stdout);
        const tail = `${stdout}${stderr}`.trim().split('\n').slice(-5).join(' | ');
        reject(new Error(`${file} failed (${error.code ?? error.signal ?? 'unknown'})${tail === '' ? '' : `: ${tail}`}`, { cause: error }));
      },
    );
  });
}

/** The first program of these names in the folders of PATH, if there is one. */
export function findOnPath(...names: readonly string[]): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  return names.flatMap((name) => folders.map((folder) => join(folder, name))).find(isExecutable);
}

/** Whether `path` is a file that this process may run. */
export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}
