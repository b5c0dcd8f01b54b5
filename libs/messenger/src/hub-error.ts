import { CarillonError, isErrorCode, parseControl } from '@carillon/wire';

/**
 * What a text frame of the hub complains of: `{"op":"error","code":…,"detail":…}`. Every other text frame, of a later
 * protocol or broken, means nothing in this one.
 */
export function readHubError(text: string): CarillonError | undefined {
  const parsed = parseControl(text);
  if (!parsed.ok || parsed.frame.op !== 'error') return undefined;
  const { code, detail } = parsed.frame;
  // A later hub may have codes that this catalogue does not know.
  return isErrorCode(code) ? new CarillonError(code, detail) : new CarillonError('INTERNAL', detail === undefined ? code : `${code}: ${detail}`);
}
