/** What a check found; the reason is a short sentence that may be shown to whoever reaches the admin port. */
export type HealthAnswer = { readonly ok: true } | { readonly ok: false; readonly reason: string };

/** Answers from what is already known: it runs on every probe, so it must not wait or reach out. */
export type HealthCheck = () => HealthAnswer;

/** Whether traffic may be sent here, and what every check said. */
export interface Readiness {
  readonly ready: boolean;
  readonly checks: Readonly<Record<string, HealthAnswer>>;
}

/** The checks of one process: ready when every one of them says so. */
export class Health {
  readonly #checks = new Map<string, HealthCheck>();

  /** Adds a check under a name of its own; throws when the name is taken. */
  addCheck(name: string, check: HealthCheck): void {
    if (this.#checks.has(name)) throw new Error(`The health check ${name} already exists.`);
    this.#checks.set(name, check);
  }

  /** Runs every check; one that throws counts as failed, with its error's text as the reason. */
  readiness(): Readiness {
    const answers = [...this.#checks].map(([name, check]) => [name, run(check)] as const);
    return { ready: answers.every(([, answer]) => answer.ok), checks: Object.fromEntries(answers) };
  }
}

function run(check: HealthCheck): HealthAnswer {
  try {
    return check();
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error) };
  }
}
