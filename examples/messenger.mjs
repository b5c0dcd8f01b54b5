import { connect, roomEvent } from '@carillon/messenger';

const hub = process.argv[2] ?? 'ws://127.0.0.1:7100';
const panel = connect(hub);
panel.subscribe('ITB-*', (event) => console.log(event.room, event.json().key, event.json().value));

const controller = connect(hub);
await Promise.all([panel.ready(), controller.ready()]);
await controller.publish(roomEvent({ room: 'ITB-1101', key: 'power', value: 'on' }));
