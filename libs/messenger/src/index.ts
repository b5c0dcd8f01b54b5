export { CarillonError, type ErrorCode } from '@carillon/wire';
export { connect } from './connect.ts';
export type { DrainOptions, LastError, Messenger, MessengerState, MessengerStatus, PublishOptions, SendOptions, SignalOptions } from './messenger.ts';
export type { MessengerOptions } from './options.ts';
export type { ReceivedEvent } from './received-event.ts';
export { roomEvent, type RoomEvent, type RoomEventFields } from './room-event.ts';
export type { CallbackOptions, Subscription } from './subscription.ts';
