/** Longest id of a device in UTF-8: as long as a room may be, since both stand in one path. */
const DEVICE_ID_MAX_BYTES = 256;
const CONTROL_CHARACTER = /[\u0000-\u001f\u007f]/;

/** Why an id cannot name a device (or this repeater), or undefined when it can. */
export function deviceIdFault(id: string): 'empty' | 'too-long' | 'not-utf8' | 'control-character' | undefined {
  if (id === '') return 'empty';
  if (CONTROL_CHARACTER.test(id)) return 'control-character';
  if (!id.isWellFormed()) return 'not-utf8';
  return Buffer.byteLength(id) > DEVICE_ID_MAX_BYTES ? 'too-long' : undefined;
}

/** The header by which one Carillon repeater knows another; its value is `repeaterHeaderValue(id)`. */
export const REPEATER_HEADER = 'carillon-repeater';

/** An id as a header may carry it. */
export function repeaterHeaderValue(id: string): string {
  return encodeURIComponent(id);
}
