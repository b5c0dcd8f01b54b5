import { readFileSync } from 'node:fs';

/*
 * Loaded before a program (`node --import`): its wall clock, `Date`, is ahead by as many milliseconds as a file says, read at
 * the start and at each SIGUSR2. Timers and `performance` go on as they were, as they do when somebody sets a machine's clock;
 * what Node itself writes from C++ (the Date header of HTTP) stays as well.
 */
const file = process.env['CHAOS_CLOCK_FILE'];
if (file === undefined) throw new Error('CHAOS_CLOCK_FILE names the file that says how far this clock is ahead.');

const Machine = Date;
const machineNow = Date.now;
let aheadMs = 0;
const now = (): number => machineNow() + aheadMs;
const readStep = (): void => {
  aheadMs = Number(readFileSync(file, 'utf8'));
};

readStep();
process.on('SIGUSR2', readStep);
Machine.now = now;
globalThis.Date = new Proxy(Machine, {
  construct: (target, given: unknown[], made) => Reflect.construct(target, given.length === 0 ? [now()] : given, made) as object,
  apply: () => new Machine(now()).toString(),
});
