import { damageMetaPage, damageTreePage, raiseFormat } from './damaged-file.fixture.ts';

/* For tests of the services: does to the log or outbox in a directory what the first argument says. The second is the directory. */
const DAMAGES: Readonly<Record<string, (dir: string) => void>> = { 'meta-page': damageMetaPage, 'tree-page': damageTreePage, 'later-format': raiseFormat };

const [what = '', dir = ''] = process.argv.slice(2);
const damage = DAMAGES[what];
if (damage === undefined) throw new Error(`nothing is known of ${what}`);
damage(dir);
