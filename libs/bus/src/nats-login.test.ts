import { describe, expect, it } from 'vitest';

import { natsLogin } from './nats-login.ts';

describe('the login to NATS', () => {
  it.each([
    [['nats://a:4222'], { servers: ['nats://a:4222'] }],
    [['nats://a', 'nats://me:p%40ss@b:4223'], { servers: ['nats://a', 'nats://b:4223'], user: 'me', pass: 'p@ss' }],
    [['tls://s3cret@a:4222'], { servers: ['tls://a:4222'], token: 's3cret' }],
  ])('of %j is taken out of the URLs', (urls, login) => expect(natsLogin(urls)).toEqual(login));
});
