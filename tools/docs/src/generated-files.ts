import { configurationPage } from './configuration-page.ts';
import { errorsPage } from './errors-page.ts';
import { metricsPage } from './metrics-page.ts';

/** The first line of a generated file: which command made it. */
export const MADE_BY = '<!-- Made by `npm run docs` from the code; a change made here is lost. -->';

const PAGES: Readonly<Record<string, () => string>> = {
  'docs/operations/configuration.md': configurationPage,
  'docs/operations/metrics.md': metricsPage,
  'docs/errors.md': errorsPage,
};

export interface GeneratedFile {
  /** From the repository's root. */
  readonly path: string;
  readonly text: string;
}

/** Every file that is generated, as it should be. */
export function generatedFiles(): readonly GeneratedFile[] {
  return Object.entries(PAGES).map(([path, page]) => ({ path, text: `${MADE_BY}\n\n${page()}` }));
}
