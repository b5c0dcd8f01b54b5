import { device, deviceCreate, deviceUpdate, pageQuery } from '@carillon/schemas';
import { z } from 'zod';

import { deviceEntry } from '../feed/entries.ts';
import { thingRoutes } from './workspace-things.ts';

const only = (what: string) => z.string().max(256).optional().meta({ description: `Only those of this ${what}` });

/** Targets in the send lists of repeaters. */
export const deviceRoutes = thingRoutes({
  resource: 'devices', kind: 'device', tag: 'Devices',
  operation: { one: 'Device', many: 'Devices' }, words: { one: 'a device', many: 'devices' },
  schema: device, create: deviceCreate, update: deviceUpdate, query: pageQuery.extend({ room: only('room'), repeater: only('repeater') }),
  repository: ({ devices }) => devices,
  entry: deviceEntry,
  label: ({ room, name }) => `${room}/${name}`,
});
