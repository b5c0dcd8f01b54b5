import { CarillonError, ERRORS, formatControl, type ControlFrame } from '@carillon/wire';
import type { Settle } from './abort.ts';
import { hubError } from './hub-error.ts';
import { withKey } from './hub-url.ts';
import type { Loss } from './loss.ts';

/** Where to connect and how to show who is there; holds the access key. */
export interface Access {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

interface Change {
  readonly key: string;
  readonly access: Access;
  readonly settle: Settle<void>;
  /** Under which name the hub of the moment was asked. */
  request: string | undefined;
  /** The connection of the moment was dialled with it. */
  isPresented: boolean;
}

export interface AccessKeysOptions {
  readonly access: Access;
  /** Whether the platform sends headers; otherwise a key travels in the path. */
  readonly sendsHeaders: boolean;
  /** `asks` has something to say. */
  readonly onChange: () => void;
}

/** What a header and a path can carry, and a control frame holds. */
const KEY = /^[\x21-\x7e]{1,512}$/;

/**
 * The key of this messenger, and at most one that is to take its place (SPEC.md, "A new key"): the hub of a live connection
 * is asked; without one, and when it is lost before the answer, the next dial presents the new key.
 */
export class AccessKeys {
  readonly #options: AccessKeysOptions;
  #access: Access;
  #version: 0 | 1 | 2 = 0;
  #change: Change | undefined;
  #counter = 0;

  constructor(options: AccessKeysOptions) {
    this.#options = options;
    this.#access = options.access;
  }

  get isPending(): boolean {
    return this.#version === 2 && this.#change !== undefined && this.#change.request === undefined;
  }

  /** For the dial that comes. */
  present(): Access {
    if (this.#change !== undefined) this.#change.isPresented = true;
    return this.#change?.access ?? this.#access;
  }

  /** Codes: ACCESS_KEY_INVALID, REQUESTS_EXCEEDED (one at a time), what the hub answers. */
  refresh(key: string): Promise<void> {
    if (!KEY.test(key)) return Promise.reject(new CarillonError('ACCESS_KEY_INVALID', 'not 1 to 512 visible characters'));
    if (this.#change !== undefined) return Promise.reject(new CarillonError('REQUESTS_EXCEEDED', 'one new key at a time'));
    return new Promise((resolve, reject) => {
      this.#change = { key, access: this.#accessWith(key), settle: { resolve, reject }, request: undefined, isPresented: false };
      if (this.#version === 1) this.#adopt();
      else this.#options.onChange();
    });
  }

  /** There is a new connection. */
  greet(version: 1 | 2): void {
    this.#version = version;
    if (this.#change?.isPresented === true || version === 1) this.#adopt();
  }

  /** The text frames that are due. */
  asks(): string[] {
    if (!this.isPending || this.#change === undefined) return [];
    const request = `_-${(this.#counter += 1)}`;
    this.#change.request = request;
    return [formatControl({ op: 'refresh', request, key: this.#change.key })];
  }

  refreshed(request: string): void {
    if (this.#change?.request === request) this.#adopt();
  }

  /** False when it is not about the new key. */
  refused(frame: Extract<ControlFrame, { readonly op: 'error' }>): boolean {
    if (frame.request === undefined || this.#change?.request !== frame.request) return false;
    this.reject(hubError(frame));
    return true;
  }

  /** The connection is gone, or did not come about. */
  lost({ code, detail }: Loss): void {
    this.#version = 0;
    if (this.#change === undefined) return;
    if (this.#change.isPresented && ERRORS[code].kind === 'auth') return this.reject(new CarillonError(code, detail));
    this.#change.request = undefined;
    this.#change.isPresented = false;
  }

  /** Gives the new key up. */
  reject(error: CarillonError): void {
    const change = this.#change;
    this.#change = undefined;
    change?.settle.reject(error);
  }

  #adopt(): void {
    const change = this.#change;
    this.#change = undefined;
    if (change === undefined) return;
    this.#access = change.access;
    change.settle.resolve();
  }

  #accessWith(key: string): Access {
    const { url, headers } = this.#access;
    if (!this.#options.sendsHeaders) return { url: withKey(url, key), headers };
    const others = Object.entries(headers).filter(([name]) => name.toLowerCase() !== 'authorization');
    return { url: withKey(url), headers: { ...Object.fromEntries(others), authorization: `Bearer ${key}` } };
  }
}
