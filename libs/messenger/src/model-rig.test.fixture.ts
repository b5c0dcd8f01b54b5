import { SUBPROTOCOL_V2, type ControlFrame } from '@carillon/wire';
import { FakeClock, FakeTransport, rig, turn } from './fakes.test.fixture.ts';
import type { Messenger } from './messenger.ts';
import { ModelHub, type ModelHubOptions } from './model-hub.test.fixture.ts';
import type { ModelPeer } from './model-peer.test.fixture.ts';
import type { MessengerOptions } from './options.ts';

type Frame = Uint8Array | string;

/** A messenger at the model of a hub: frames are on the way until the test lets them arrive, and lost when it cuts. */
export class ModelRig {
  readonly hub: ModelHub;
  readonly messenger: Messenger;
  readonly clock: FakeClock;
  readonly transport: FakeTransport;
  readonly errors: { readonly code?: string }[] = [];
  #peer: ModelPeer | undefined;
  #toHub: Frame[] = [];
  #toMessenger: Frame[] = [];

  /** `chance` makes its session's name: messengers at one hub need different ones. */
  constructor(options: MessengerOptions = {}, hub: ModelHub | ModelHubOptions = {}, chance = 0.5, platform = new FakeTransport()) {
    this.hub = hub instanceof ModelHub ? hub : new ModelHub(hub);
    const { messenger, clock, transport } = rig(options, 'ws://hub', platform, new FakeClock(chance));
    this.messenger = messenger;
    this.clock = clock;
    this.transport = transport;
    messenger.on('error', (error) => this.errors.push(error as Error & { readonly code?: string }));
  }

  /** What the hub knows of the connection of the moment. */
  get peer(): ModelPeer {
    if (this.#peer === undefined) throw new Error('there is no connection');
    return this.#peer;
  }

  get isJoined(): boolean {
    return this.#peer !== undefined;
  }

  /** What the messenger said on this connection, of one kind. */
  said<Op extends ControlFrame['op']>(op: Op): Extract<ControlFrame, { readonly op: Op }>[] {
    return this.peer.heard.filter((frame): frame is Extract<ControlFrame, { readonly op: Op }> => frame.op === op);
  }

  /** The socket that was dialled opens, and the hub takes the offer. */
  join(): void {
    const { socket } = this.transport;
    this.#toHub = [];
    this.#toMessenger = [];
    this.#peer?.leave();
    this.#peer = this.hub.join((frame) => this.#toMessenger.push(frame));
    socket.onSent = (frame) => this.#toHub.push(frame);
    socket.open(SUBPROTOCOL_V2);
  }

  /** The connection is gone, with what was on the way. */
  cut(): void {
    this.#peer?.leave();
    this.#peer = undefined;
    this.transport.socket.onSent = undefined;
    this.transport.socket.gone();
  }

  /** Cuts, waits out the backoff and joins again. */
  async rejoin(): Promise<void> {
    this.cut();
    this.clock.advance(4_000);
    this.join();
    await this.settle();
  }

  /** Joins again if the messenger gave the connection up by itself. */
  mend(): void {
    if (this.messenger.state.status === 'waiting') this.clock.advance(4_000);
    if (!this.transport.socket.isOpen) this.join();
  }

  /** Lets frames arrive at the hub. */
  up(count = this.#toHub.length): void {
    for (const frame of this.#toHub.splice(0, count)) this.#peer?.receive(frame);
  }

  /** Lets frames arrive at the messenger. */
  down(count = this.#toMessenger.length): void {
    for (const frame of this.#toMessenger.splice(0, count)) {
      if (typeof frame === 'string') this.transport.socket.text(frame);
      else this.transport.socket.binary(frame);
    }
  }

  /** Lets everything arrive; nothing is answered or caught up that the test does not say. */
  async settle(): Promise<void> {
    do {
      await turn();
      this.up();
      this.down();
      await turn();
    } while (this.#toHub.length + this.#toMessenger.length > 0);
  }
}

/** The same, joined. */
export async function joinedRig(options?: MessengerOptions, hub?: ModelHub | ModelHubOptions, chance?: number): Promise<ModelRig> {
  const rig = new ModelRig(options, hub, chance);
  rig.join();
  await rig.settle();
  return rig;
}
