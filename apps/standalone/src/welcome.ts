import { formatAddress, isLoopback, type ListenAddress } from '@carillon/runtime';

import { reachable } from './reachable.ts';
import type { Standalone } from './standalone.ts';

/** What a person sees first: where things are, what was made for them, and one line each to hear and to send. */
export function welcome({ hub, repeater, configManager, access, first, admin, demo, dataDir }: Standalone & { readonly admin: ListenAddress; readonly demo: boolean; readonly dataDir: string }): string {
  const at = formatAddress(reachable(hub));
  const manager = formatAddress(reachable(configManager));
  return `
Carillon is running${demo ? ', with a simulated building (its devices are programs)' : ''}.

  page       http://${at}/
  hub        ws://${at}/connect/messenger
  repeater   ws://${formatAddress(reachable(repeater))}/connect/ROOM/DEVICE
  manage     http://${manager}/docs
  admin      http://${formatAddress(reachable(admin))}/metrics
${first === undefined ? '' : firstTime(first, dataDir)}
Hear a room:

  curl -N http://${at}/rooms/ITB-1101/events

Send it an event, from another terminal:

  curl http://${at}/event -H 'content-type: application/json' \\
    -d '{"affected-room":{"roomID":"ITB-1101"},"key":"power","value":"on"}'

${whoMayEnter(access, [hub, repeater])} Stop it with Ctrl-C.
`;
}

function firstTime({ username, password, accessKey }: NonNullable<Standalone['first']>, dataDir: string): string {
  return `
Made for you, shown this once, kept in ${dataDir}:

  administrator   ${username}${password === undefined ? '' : `   password  ${password}`}
  access key      ${accessKey}
`;
}

function whoMayEnter(access: Standalone['access'], addresses: readonly ListenAddress[]): string {
  const beyond = addresses.some(({ host }) => !isLoopback(host));
  switch (access) {
    case 'keys':
      return 'Everybody needs an access key.';
    case 'loopback':
      return `Programs of this machine need no key${beyond ? '; everybody else does' : '; it listens on this machine only'}.`;
    case 'open':
      return beyond ? 'It listens beyond this machine and asks for no key: whoever reaches it can send and receive everything.' : 'It asks for no key, and listens on this machine only.';
    default:
      return access satisfies never;
  }
}
