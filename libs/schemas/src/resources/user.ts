import { z } from 'zod';

import { displayName, stored } from './page.ts';

/** A person. Names to sign in with are kept in lower case, so that two never differ in case only. */
export const username = z.string().toLowerCase().regex(/^[a-z0-9][a-z0-9._@+-]{0,253}$/, 'must be letters, digits or . _ @ + -').meta({ id: 'Username', examples: ['ada@rooms.example'] });

/** Its fitness (length, common passwords) is PASSWORD_UNFIT's to say. */
export const password = z.string().max(1_024).meta({ id: 'Password', format: 'password' });

export const user = z
  .object({
    id: z.string(), username, name: z.string(), administrator: z.boolean().meta({ description: 'May everything, everywhere' }), disabled: z.boolean(),
    hasPassword: z.boolean(), oidcLinked: z.boolean(), ...stored,
  })
  .meta({ id: 'User' });

export const userCreate = z.strictObject({ username, name: displayName, password: password.optional(), administrator: z.boolean().default(false) }).meta({ id: 'UserCreate' });
export const userUpdate = z.strictObject({ name: displayName, administrator: z.boolean(), disabled: z.boolean(), password }).partial().meta({ id: 'UserUpdate' });
export const passwordChange = z.strictObject({ currentPassword: password, newPassword: password }).meta({ id: 'PasswordChange' });

export type User = z.output<typeof user>;
export type UserCreate = z.output<typeof userCreate>;
export type UserUpdate = z.output<typeof userUpdate>;
