export { parseJsonBody, type JsonBody } from './json-body.ts';
export { readRoomEvent, type FieldFault, type ReadRoomEvent } from './read-room-event.ts';
export { basicDevice, basicRoom, deviceFromId, EVENT_TAGS, roomEvent, roomFromId, type BasicDevice, type BasicRoom, type RoomEvent } from './room-event.ts';
