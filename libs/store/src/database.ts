import { setTimeout as sleep } from 'node:timers/promises';

import { PrismaPg } from '@prisma/adapter-pg';
import { CarillonError } from '@carillon/wire';
import pg from 'pg';

import { isConflict, storeFault } from './fault.ts';
import { PrismaClient, type Prisma } from './generated/client.ts';
import { refuseUnstorable } from './storable.ts';
import { TransactionTap, TransactionTaps } from './transaction-tap.ts';

/*
 * Two ways to the same pool: Prisma for configuration, statements by name for what is asked often. Every answer and every failure
 * passes here once: it is counted, text is looked at before it leaves, and errors come back as faults of the catalogue.
 */

/** A request that waits this long for a connection is better told to come back. */
const CONNECT_TIMEOUT_MS = 5_000;
const TRANSACTION_TIMEOUT_MS = 10_000;
/** The server gives a statement up before we give up the server. */
const STATEMENT_TIMEOUT_MS = 15_000;
const ANSWER_TIMEOUT_MS = 20_000;
/** Of a program that stood still in the middle of a transaction: its locks are not for ever. */
const IDLE_IN_TRANSACTION_TIMEOUT_MS = 30_000;
/** Between deadlock and retry, doubled each time, with full jitter. */
const RETRY_BASE_MS = 20;
const RETRIES_MAX = 3;
/** Statements whose plans a connection keeps; lists of many lengths make many statements. */
const PREPARED_MAX = 400;

export type SqlRow = Record<string, unknown>;

/** Statements of our own, with `$1…` for what comes from outside; the same inside a transaction and out of it. */
export interface Sql {
  /** `name` is what connections keep the plan under: one a statement. 64-bit numbers come as text: `Number(…)`; JSON is to be asked for as text. */
  query(name: string, text: string, values?: readonly unknown[]): Promise<readonly SqlRow[]>;
}

/** What repositories work with: the database itself, or one transaction on it. */
export interface Connection {
  readonly prisma: Prisma.TransactionClient;
  readonly sql: Sql;
  /** Runs in this transaction, or in one of its own. */
  atomically<T>(run: (connection: Connection) => Promise<T>): Promise<T>;
}

export interface QueryCounts {
  queries: number;
  failures: number;
}

export interface DatabaseOptions {
  readonly url: string;
  readonly poolMax: number;
  readonly counts: QueryCounts;
  /** At each fault `STORE_UNAVAILABLE`. */
  readonly unavailable: () => void;
  /** At the first of them, and at the first answer after. */
  readonly away: (fault: CarillonError) => void;
  readonly back: () => void;
}

export class Database implements Connection {
  readonly prisma: PrismaClient;
  readonly sql: Sql = { query: async (name, text, values = []) => retried(async () => this.#asked(async () => (await this.#pool.query<SqlRow>({ name, text, values: [...values] })).rows, values)) };
  readonly #options: DatabaseOptions;
  readonly #pool: pg.Pool;
  readonly #taps = new TransactionTaps();
  #isAway = false;
  #isClosing = false;

  constructor(options: DatabaseOptions) {
    this.#options = options;
    this.#pool = new pg.Pool({
      connectionString: options.url, max: options.poolMax, application_name: 'carillon', keepAlive: true, onConnect: inUtc,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS, query_timeout: ANSWER_TIMEOUT_MS, statement_timeout: STATEMENT_TIMEOUT_MS, idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_TIMEOUT_MS,
    });
    // An idle connection that breaks is the pool's to replace; without a listener it would end the process.
    this.#pool.on('error', (error) => {
      if (!this.#isClosing) this.#fault(error);
    });
    const client = new PrismaClient({ adapter: this.#taps.on(new PrismaPg(this.#pool, { statementNameGenerator: statementNames() })), errorFormat: 'minimal' });
    const checked = client.$extends({ query: { $allOperations: async ({ args, query }) => this.#asked(async () => query(args) as Promise<unknown>, args) } });
    this.prisma = checked as unknown as PrismaClient;
  }

  /** Where new connections go from now on. */
  redirect(url: string): void {
    this.#pool.options.connectionString = url;
  }

  /** One transaction, read committed; again from the beginning, at most three times, after a serialization failure or a deadlock. */
  async atomically<T>(run: (connection: Connection) => Promise<T>): Promise<T> {
    return retried(async () => this.#transaction(run));
  }

  /** Lets what is under way end, and ends all connections. */
  async close(): Promise<void> {
    // The pool lets connections go before they are closed: what they say at their end is nobody's matter.
    this.#isClosing = true;
    await this.prisma.$disconnect();
    await this.#pool.end();
  }

  async #transaction<T>(run: (connection: Connection) => Promise<T>): Promise<T> {
    const tap = new TransactionTap();
    const sql: Sql = { query: async (_name, text, values = []) => this.#asked(async () => tap.query(text, values), values) };
    let thrown: { readonly error: unknown } | undefined;
    const body = async (prisma: Prisma.TransactionClient): Promise<T> => {
      try {
        const connection: Connection = { prisma, sql, atomically: async (inner) => inner(connection) };
        const result = await run(connection);
        // PostgreSQL answers COMMIT after a failed statement by rolling back, without an error: whoever caught the failure would take it for done.
        if (tap.failed !== undefined) throw this.#fault(tap.failed);
        return result;
      } catch (error) {
        thrown = { error };
        throw error;
      }
    };
    try {
      return await this.#taps.run(tap, async () => this.prisma.$transaction(body, { timeout: TRANSACTION_TIMEOUT_MS, maxWait: CONNECT_TIMEOUT_MS }));
    } catch (error) {
      // What `run` throws is its caller's; what beginning and committing throw is the database's.
      throw thrown === undefined ? this.#fault(error) : thrown.error;
    }
  }

  async #asked<T>(ask: () => Promise<T>, given: unknown): Promise<T> {
    refuseUnstorable(given);
    this.#options.counts.queries += 1;
    try {
      const answer = await ask();
      if (this.#isAway) this.#options.back();
      this.#isAway = false;
      return answer;
    } catch (error) {
      throw this.#fault(error);
    }
  }

  #fault(error: unknown): CarillonError {
    const fault = storeFault(error);
    if (isConflict(error)) return fault;
    if (fault.code === 'STORE_UNAVAILABLE' || fault.code === 'INTERNAL') this.#options.counts.failures += 1;
    if (fault.code !== 'STORE_UNAVAILABLE') return fault;
    if (!this.#isAway) this.#options.away(fault);
    this.#isAway = true;
    this.#options.unavailable();
    return fault;
  }
}

async function retried<T>(work: () => Promise<T>): Promise<T> {
  for (let retries = 0; ; retries += 1) {
    try {
      return await work();
    } catch (error) {
      if (!isConflict(error) || retries === RETRIES_MAX) throw error;
      await sleep(Math.random() * RETRY_BASE_MS * 2 ** retries);
    }
  }
}

/** adapter-pg writes and reads times without their zone. The pool waits for what is given back. */
function inUtc(client: pg.ClientBase): unknown {
  return client.query("SET TIME ZONE 'UTC'");
}

function statementNames(): (query: { readonly sql: string }) => string {
  const names = new Map<string, string>();
  return ({ sql }) => {
    const known = names.get(sql);
    if (known !== undefined) return known;
    // Without a name a statement is planned for the once.
    if (names.size === PREPARED_MAX) return '';
    const name = `prisma_${names.size}`;
    names.set(sql, name);
    return name;
  };
}
