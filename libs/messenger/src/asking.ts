/** How a hub is asked for rooms: one way for each protocol. */
export interface Asking {
  /** Whether `changes` may have something to say. */
  readonly isPending: boolean;
  /** The text frames that tell the hub what changed since the last call. */
  changes(): string[];
  /** The connection is gone: the next hub knows nothing. */
  forget(): void;
}
