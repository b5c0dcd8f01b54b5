import { formatAddress, isLoopback, type ListenAddress } from '@carillon/runtime';

import { reachable } from './reachable.ts';

/** What a person sees first: where things are, and one line each to hear and to send. */
export function welcome({ hub, repeater, admin, demo }: { readonly hub: ListenAddress; readonly repeater: ListenAddress; readonly admin: ListenAddress; readonly demo: boolean }): string {
  const at = formatAddress(reachable(hub));
  const open = [hub, repeater].some(({ host }) => !isLoopback(host));
  return `
Carillon is running${demo ? ', with a simulated building (its devices are programs)' : ''}.

  page       http://${at}/
  hub        ws://${at}/connect/messenger
  repeater   ws://${formatAddress(reachable(repeater))}/connect/ROOM/DEVICE
  admin      http://${formatAddress(reachable(admin))}/metrics

Hear a room:

  curl -N http://${at}/rooms/ITB-1101/events

Send it an event, from another terminal:

  curl http://${at}/event -H 'content-type: application/json' \\
    -d '{"affected-room":{"roomID":"ITB-1101"},"key":"power","value":"on"}'

${open ? 'It listens beyond this machine and asks for no key: whoever reaches it can send and receive everything.' : 'It listens on this machine only (access keys come with the next version). Stop it with Ctrl-C.'}
`;
}
