import { CarillonError, ERRORS, parseControl, type ErrorCode } from '@carillon/wire';

/**
 * What a text frame of the hub complains of: `{"op":"error","code":…,"detail":…}`. Every other text frame, of a later
 * protocol or broken, means nothing in this one.
 */
export function readHubError(text: string): CarillonError | undefined {
  const parsed = parseControl(text);
  if (!parsed.ok || parsed.frame.op !== 'error') return undefined;
  const { code, detail } = parsed.frame;
  // A later hub may have codes that this catalogue does not know.
  return Object.hasOwn(ERRORS, code) ? new CarillonError(code, detail) : new CarillonError('INTERNAL', detail === undefined ? String(code) : `${code}: ${detail}`);
}

/** The detail of an error, without the title that its message begins with. */
export function detailOf(error: Error & { readonly code: ErrorCode }): string {
  const { title } = ERRORS[error.code];
  return error.message.startsWith(`${title}: `) ? error.message.slice(title.length + 2) : error.message;
}
