import { DROP_REASONS, ERRORS } from '@carillon/wire';
import { describe, expect, it } from 'vitest';

import { mentions, productFiles, testFiles } from './source-text.fixture.ts';

/** They name the whole catalogue, or none of it, without provoking anything. */
const CATALOGUE = 'libs/wire/src/errors.ts';
const CATALOGUE_TEST = 'libs/wire/src/errors.test.ts';

const provoking = testFiles().filter(({ path }) => path !== CATALOGUE_TEST);
const running = productFiles().filter(({ path }) => path !== CATALOGUE);

describe('the catalogue', () => {
  it('has a test that provokes every code', () => {
    expect(Object.keys(ERRORS).filter((code) => !provoking.some((file) => mentions(file, code)))).toEqual([]);
  });

  it('has no code that nothing uses', () => {
    expect(Object.keys(ERRORS).filter((code) => !running.some((file) => mentions(file, code)))).toEqual([]);
  });

  it('has no drop reason that nothing gives', () => {
    expect(Object.keys(DROP_REASONS).filter((reason) => !running.some(({ text }) => text.includes(`'${reason}'`)))).toEqual([]);
  });
});
