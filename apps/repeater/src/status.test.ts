import { expect, test } from 'vitest';

import { formatDuration } from './status.ts';

test.each([[0, '0s'], [59_999, '59s'], [60_000, '1m0s'], [3_723_000, '1h2m3s'], [90_000_000, '25h0m0s']])('%i ms are %s', (ms, text) => expect(formatDuration(ms)).toBe(text));
