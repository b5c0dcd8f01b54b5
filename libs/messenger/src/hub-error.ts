import { CarillonError, isErrorCode, parseControl, type ControlFrame } from '@carillon/wire';

/**
 * What a text frame of the hub complains of: `{"op":"error","code":…,"detail":…}`. Every other text frame, of a later
 * protocol or broken, means nothing in this one.
 */
export function readHubError(text: string): CarillonError | undefined {
  const parsed = parseControl(text);
  return parsed.ok && parsed.frame.op === 'error' ? hubError(parsed.frame) : undefined;
}

/** A refusal by the hub. A later hub may have codes that this catalogue does not know. */
export function hubError({ code, detail }: Pick<Extract<ControlFrame, { readonly op: 'error' }>, 'code' | 'detail'>): CarillonError {
  return isErrorCode(code) ? new CarillonError(code, detail) : new CarillonError('INTERNAL', detail === undefined ? code : `${code}: ${detail}`);
}
