/**
 * Reads server-sent events out of bytes that come in any pieces (the event stream format of the HTML standard, §9.2.6):
 *
 *   line = bytes up to \n, \r or \r\n     field = name ":" [one space] value      an empty line ends the event
 *
 * Lines are put together as bytes and decoded whole, so no piece can cut a character. `id` and `retry` mean nothing here.
 */
export interface SseReaderOptions {
  /** What a line, and the data of one event, may be at the most. */
  readonly maxBytes: number;
  /** An event that is whole; one without data is passed over, as the standard asks. */
  readonly event: (name: string, data: string) => void;
}

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const BYTE_ORDER_MARK = '\ufeff';
const DEFAULT_NAME = 'message';
/** What most lines fit. */
const LINE_FIRST_BYTES = 1_024;

export class SseReader {
  readonly #options: SseReaderOptions;
  /** The line so far: one buffer that doubles, since a peer may send its bytes one by one. */
  #line = Buffer.alloc(LINE_FIRST_BYTES);
  #lineBytes = 0;
  #afterReturn = false;
  #isFirstLine = true;
  #name = '';
  #data: string[] = [];
  #dataBytes = 0;

  constructor(options: SseReaderOptions) {
    this.#options = options;
  }

  /** Takes the next bytes and tells of every event they complete; false when the stream is over its bound and cannot be read on. */
  push(chunk: Buffer): boolean {
    let start = 0;
    for (let at = 0; at < chunk.length; at += 1) {
      const byte = chunk[at];
      const isSecondOfPair = byte === LINE_FEED && at === start && this.#lineBytes === 0 && this.#afterReturn;
      if (at === start) this.#afterReturn = false;
      if (isSecondOfPair) {
        start = at + 1;
      } else if (byte === LINE_FEED || byte === CARRIAGE_RETURN) {
        if (!this.#keep(chunk.subarray(start, at)) || !this.#endLine()) return false;
        this.#afterReturn = byte === CARRIAGE_RETURN;
        start = at + 1;
      }
    }
    return this.#keep(chunk.subarray(start));
  }

  #keep(piece: Buffer): boolean {
    const bytes = this.#lineBytes + piece.length;
    if (bytes > this.#options.maxBytes) return false;
    if (bytes > this.#line.length) {
      const larger = Buffer.alloc(Math.max(bytes, this.#line.length * 2));
      this.#line.copy(larger, 0, 0, this.#lineBytes);
      this.#line = larger;
    }
    piece.copy(this.#line, this.#lineBytes);
    this.#lineBytes = bytes;
    return true;
  }

  #endLine(): boolean {
    const bytes = this.#lineBytes;
    let line = this.#line.toString('utf8', 0, bytes);
    this.#lineBytes = 0;
    if (this.#isFirstLine && line.startsWith(BYTE_ORDER_MARK)) line = line.slice(1);
    this.#isFirstLine = false;
    if (line === '') {
      this.#dispatch();
      return true;
    }
    const colon = line.indexOf(':');
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'event') this.#name = value;
    if (field !== 'data') return true;
    this.#data.push(value);
    this.#dataBytes += bytes;
    return this.#dataBytes <= this.#options.maxBytes;
  }

  #dispatch(): void {
    const [name, data] = [this.#name === '' ? DEFAULT_NAME : this.#name, this.#data];
    this.#name = '';
    this.#data = [];
    this.#dataBytes = 0;
    if (data.length > 0) this.#options.event(name, data.join('\n'));
  }
}
