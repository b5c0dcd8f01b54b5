import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { obtainNatsServer } from './obtain-nats-server.ts';
import { ownStoppable } from './owned-by-test.ts';
import { startProcess, type OwnedProcess } from './owned-process.ts';

const START_TIMEOUT_MS = 15_000;
const INFO_TIMEOUT_MS = 1_000;
// A port that was free may be taken before the server binds it.
const START_TRIES = 3;

export interface NatsServerOptions {
  /** A free one by default. */
  readonly port?: number;
  /** false by default. */
  readonly jetstream?: boolean;
  /** Folder of JetStream's files, kept when the server stops; by default a temporary one that lives as long as this handle. */
  readonly storeDir?: string;
  /** `max_payload` in bytes; the server's own default is 1 MiB. */
  readonly maxPayload?: number;
  /** Further lines of configuration, each key on its own line. */
  readonly extraConfig?: string;
}

export interface NatsServer {
  readonly url: string;
  readonly port: number;
  /** Of the process that runs now, or ran last. */
  readonly pid: number;
  /** Sends a signal (SIGKILL by default) and waits for the end of the process. The handle stays: `restart()` brings it back. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Kills what still runs and starts again on the same port, with the same files; resolves when it accepts connections. */
  restart(): Promise<void>;
  /** SIGSTOP: connections stay open and nothing moves, from the moment this returns. */
  pause(): void;
  /** SIGCONT. */
  resume(): void;
  /** What the process printed since its last start. */
  output(): string;
  /** Ends it for good and removes its temporary files; idempotent. */
  stop(): Promise<void>;
}

/** Starts a real nats-server on loopback and resolves when it accepts connections. It dies with the test process. */
export async function startNatsServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await startOn(options.port ?? (await freePort()), options);
    } catch (error) {
      const portWasTaken = error instanceof Error && error.message.includes('address already in use');
      if (!portWasTaken || options.port !== undefined || tries === START_TRIES) throw error;
    }
  }
}

async function startOn(port: number, options: NatsServerOptions): Promise<NatsServer> {
  const program = await obtainNatsServer();
  const folder = await mkdtemp(join(tmpdir(), 'carillon-nats-'));
  const name = `carillon-test-${process.pid}-${port}`;
  const configFile = join(folder, 'nats.conf');
  const storeDir = options.storeDir ?? join(folder, 'store');
  await mkdir(storeDir, { recursive: true });
  await writeFile(configFile, configuration(name, { ...options, port, storeDir }));

  const launch = async (): Promise<OwnedProcess> => {
    const launched = await startProcess([program, '--config', configFile], { cwd: folder, env: process.env });
    try {
      await eventually(() => launched.hasExited || accepts({ port, name }), { timeoutMs: START_TIMEOUT_MS, what: `nats-server to accept connections on port ${port}` });
      if (launched.hasExited) throw new Error('it ended');
      return launched;
    } catch (error) {
      launched.killGroup();
      await launched.exited;
      throw new Error(`nats-server did not start. It printed:\n${launched.stderr().slice(-2_000)}`, { cause: error });
    }
  };
  let owned = await launch().catch(async (error: unknown) => {
    await rm(folder, { recursive: true, force: true });
    throw error;
  });
  const disown = ownStoppable(stop);

  async function kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    owned.kill(signal);
    owned.kill('SIGCONT');
    await owned.exited;
    owned.killGroup();
  }
  async function stop(): Promise<void> {
    disown();
    await kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  }
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    get pid() {
      return owned.pid;
    },
    kill,
    restart: async () => {
      await kill('SIGKILL');
      owned = await launch();
    },
    pause: () => owned.pause(),
    resume: () => owned.kill('SIGCONT'),
    output: () => owned.stderr(),
    stop,
  };
}

function configuration(name: string, options: NatsServerOptions & { readonly port: number; readonly storeDir: string }): string {
  const lines = [`server_name: ${JSON.stringify(name)}`, 'host: "127.0.0.1"', `port: ${options.port}`];
  if (options.maxPayload !== undefined) lines.push(`max_payload: ${options.maxPayload}`);
  if (options.jetstream === true) lines.push('jetstream {', `  store_dir: ${JSON.stringify(options.storeDir)}`, '}');
  if (options.extraConfig !== undefined) lines.push(options.extraConfig);
  return `${lines.join('\n')}\n`;
}

/** Whether this very server answers: another process may have taken the port. */
async function accepts(expected: { readonly port: number; readonly name: string }): Promise<boolean> {
  const info = await readInfo(expected.port);
  return info.includes(`"server_name":"${expected.name}"`);
}

/** The INFO line with which a nats-server greets a connection. */
export function readInfo(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1' });
    let text = '';
    socket.setTimeout(INFO_TIMEOUT_MS, () => socket.destroy(new Error('it does not greet')));
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
      if (!text.includes('\r\n')) return;
      socket.destroy();
      resolve(text);
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('it closed the connection')));
  });
}
