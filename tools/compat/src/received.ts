/** One event as a receiver of any kind saw it. */
export interface Received {
  readonly room: string;
  readonly key: string;
  readonly value: string;
  /** Line feeds before the JSON; each original hop adds one. Unknown where the receiver does not show it. */
  readonly blankLines: number | undefined;
}

/** Whoever gets events: a messenger of ours or of the originals, or an HTTP target. */
export interface Receiver {
  readonly name: string;
  events(): readonly Received[];
}

/** The events of one key, as the values that came. */
export function valuesOf(receiver: Receiver, key: string): readonly string[] {
  return receiver.events().filter((event) => event.key === key).map(({ value }) => value);
}

/** Reads a v2 event's JSON with whatever white space surrounds it. */
export function readReceived(room: string, text: string): Received {
  const { key = '', value = '' } = JSON.parse(text) as { key?: string; value?: string };
  return { room, key, value, blankLines: /^\s*/.exec(text)?.[0].length };
}
