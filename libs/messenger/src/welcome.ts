import { parseControl, type ControlFrame } from '@carillon/wire';

/** What a hub of the second protocol says first: who it is, whether it keeps a log, and what it takes. */
export type Welcome = Extract<ControlFrame, { readonly op: 'welcome' }>;

/** Reads it, if a text frame is one. */
export function readWelcome(text: string): Welcome | undefined {
  const parsed = parseControl(text);
  return parsed.ok && parsed.frame.op === 'welcome' ? parsed.frame : undefined;
}
