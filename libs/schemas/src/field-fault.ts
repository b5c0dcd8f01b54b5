import type { z } from 'zod';

/** What is wrong with one field of something that was sent. */
export interface FieldFault {
  /** RFC 6901 JSON pointer to the field. */
  readonly pointer: string;
  readonly detail: string;
}

/** A sender that has so much wrong has not read what it should send. */
const FAULTS_MAX = 20;

/** The first faults that a schema found, a pointer each. */
export function faultsOf({ issues }: z.ZodError): readonly FieldFault[] {
  return issues.slice(0, FAULTS_MAX).map(({ path, message }) => ({ pointer: path.map((step) => `/${escapeStep(String(step))}`).join(''), detail: message }));
}

/** The faults in one line. */
export function describeFaults(faults: readonly FieldFault[]): string {
  return faults.map(({ pointer, detail }) => `${pointer || '/'} ${detail}`).join('; ');
}

/** RFC 6901 §3. */
function escapeStep(step: string): string {
  return step.replaceAll('~', '~0').replaceAll('/', '~1');
}
