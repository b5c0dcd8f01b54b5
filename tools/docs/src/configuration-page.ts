import { configManagerSettings } from '@carillon/config-manager';
import { hubSettings } from '@carillon/hub';
import { repeaterSettings } from '@carillon/repeater';
import { listSettings, type SettingEntry, type Settings } from '@carillon/runtime';
import { standaloneSettings } from '@carillon/standalone';

import { code, markdownTable } from './markdown-table.ts';

/** The longest timer there is: no bound that anybody chose. */
const NO_BOUND = /from (\d+) to 2147483647$/;
/** What the unit says already. */
const UNIT_WORDS = /^(?:milliseconds|bytes \(KiB, MiB, GiB allowed\)|whole number), /;

const INTRODUCTION = `# Configuration

Every app is configured by its environment alone. An empty value counts as unset. A value that cannot be read is an error and never the default, a \`CARILLON_*\` name that no setting has is an error too (the variables that Kubernetes makes for Services are let through), all problems are told at once, and the exit code is 78.

Bytes may be written plain or with \`KiB\`, \`MiB\`, \`GiB\`. A name under "also read" is the original's; it counts only while our own is unset. The value of a secret is never printed.
`;

/** docs/operations/configuration.md: every setting of every app. */
export function configurationPage(): string {
  return [
    INTRODUCTION,
    section('Hub', '`npm run hub`', hubSettings),
    section('Repeater', '`npm run repeater`', repeaterSettings),
    section('Config-manager', '`npm run config-manager`', configManagerSettings),
    section('Standalone', '`npm start`, `npm run demo`. It takes all settings of hub, repeater and config-manager besides these; of `CARILLON_HUB_ACCESS` and `CARILLON_REPEATER_ACCESS` the default is `loopback` here. Its one admin port is the one below: the admin addresses of the others have no effect here, and its repeater joins its own hub, with a key of its own, whatever `CARILLON_REPEATER_HUB_URL` says.', standaloneSettings.common),
  ].join('\n');
}

function section(title: string, text: string, settings: Settings): string {
  const head = ['name', 'default', 'unit', 'takes', 'meaning', 'also read', 'secret'];
  return `## ${title}\n\n${text}\n\n${markdownTable(head, listSettings(settings).map(row))}`;
}

function row(entry: SettingEntry): readonly string[] {
  const takes = entry.type.replace(UNIT_WORDS, '').replace(NO_BOUND, 'at least $1').replace(/^string$/, 'text');
  return [code(entry.env), code(entry.default), entry.unit ?? '', takes, entry.help, entry.aliases.map(code).join(', '), entry.secret ? 'yes' : ''];
}
