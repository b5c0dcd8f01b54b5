import type { ControlFrame } from '@carillon/wire';
import type { ModelPeer } from './model-peer.test.fixture.ts';

type EnterFrame = Extract<ControlFrame, { readonly op: 'enter' }>;
type WatchFrame = Extract<ControlFrame, { readonly op: 'watch' }>;
type PresentMember = NonNullable<Extract<ControlFrame, { readonly op: 'presence' }>['joined']>[number];

interface Entered {
  readonly peer: ModelPeer;
  readonly request: string;
  readonly room: string;
  readonly member: PresentMember;
}

/** Who is in the rooms of the model. Its clock counts what happens. */
export class ModelPresence {
  readonly #watchers = new Set<{ readonly peer: ModelPeer; readonly frame: WatchFrame }>();
  readonly #lastSeen = new Map<string, PresentMember>();
  #entered: Entered[] = [];
  #clock = 0;

  names(room: string): string[] {
    return this.#entered.filter((entered) => entered.room === room).map(({ member }) => member.name);
  }

  enter(peer: ModelPeer, { request, room, name, data }: EnterFrame & { readonly name: string }): void {
    if (room === 'denied') return peer.say({ op: 'error', code: 'SEND_DENIED', request });
    const member = { name, at: (this.#clock += 1), ...(data === undefined ? {} : { data }) };
    this.#entered.push({ peer, request, room, member });
    this.#lastSeen.delete(`${room} ${name}`);
    peer.say({ op: 'entered', request });
    this.#tell(room, { joined: [member] });
  }

  watch(peer: ModelPeer, frame: WatchFrame): void {
    const { request, room } = frame;
    if (room === 'denied') return peer.say({ op: 'error', code: 'RECEIVE_DENIED', request });
    this.#watchers.add({ peer, frame });
    const joined = this.#entered.filter((entered) => entered.room === room).map(({ member }) => member);
    const left = [...this.#lastSeen].filter(([key]) => key.startsWith(`${room} `)).map(([, member]) => member);
    peer.say({ op: 'presence', request, room, isAll: true, joined, left });
  }

  left(peer: ModelPeer, request?: string): void {
    const isOver = (each: { readonly peer: ModelPeer }, name: string): boolean => each.peer === peer && (request ?? name) === name;
    for (const watcher of [...this.#watchers]) if (isOver(watcher, watcher.frame.request)) this.#watchers.delete(watcher);
    for (const entered of this.#entered.filter((each) => isOver(each, each.request))) {
      const { room, member: { name } } = entered;
      this.#entered = this.#entered.filter((other) => other !== entered);
      const member = { name, at: (this.#clock += 1) };
      this.#lastSeen.set(`${room} ${name}`, member);
      this.#tell(room, { left: [member] });
    }
  }

  #tell(room: string, change: { readonly joined?: readonly PresentMember[]; readonly left?: readonly PresentMember[] }): void {
    for (const { peer, frame } of this.#watchers) if (frame.room === room) peer.say({ op: 'presence', request: frame.request, room, ...change });
  }
}
