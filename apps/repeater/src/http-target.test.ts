import { expect, test } from 'vitest';

import { eventBody } from './http-target.ts';

test.each([['R\n{"a":1}', '{"a":1}'], ['R\n\n\n \t\r\n{"a":1}\n\n', '{"a":1}'], ['R\n', ''], ['R\n \n', '']])('the body of %j is %j', (frame, body) =>
  expect(eventBody({ bytes: Buffer.from(frame), tagEnd: 1 }).toString()).toBe(body));
