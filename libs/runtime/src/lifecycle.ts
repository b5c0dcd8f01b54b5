// A process's life. What is not in the table does not happen: the event is ignored and the state stays.
//
//   state    | start    | started | drain    | finish  | fail
//   created  | starting |         |          |         |
//   starting |          | running | draining |         |
//   running  |          |         | draining |         |
//   draining |          |         |          | stopped | failed
//   stopped  |          |         |          |         |
//   failed   |          |         |          |         |

/** Where a process is in its life. */
export type LifecycleState = 'created' | 'starting' | 'running' | 'draining' | 'stopped' | 'failed';

/** What moves it on: `drain` is any reason to end, `finish` and `fail` tell how the ending went. */
export type LifecycleEvent = 'start' | 'started' | 'drain' | 'finish' | 'fail';

const TABLE: Readonly<Record<LifecycleState, Readonly<Partial<Record<LifecycleEvent, LifecycleState>>>>> = {
  created: { start: 'starting' },
  starting: { started: 'running', drain: 'draining' },
  running: { drain: 'draining' },
  draining: { finish: 'stopped', fail: 'failed' },
  stopped: {},
  failed: {},
};

/** The state after the event, or undefined when the event means nothing in this state. */
export function nextState(state: LifecycleState, event: LifecycleEvent): LifecycleState | undefined {
  return TABLE[state][event];
}
