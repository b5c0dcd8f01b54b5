import type { MsgHdrs } from '@nats-io/transport-node';

/**
 * The headers of a publish: the id by which the server tells duplicates, and further lines that end in CRLF. nats-core 3.4.0 asks of
 * headers that it writes nothing but their bytes; built by its own class they cost 4 µs, more than the rest of a publish.
 */
export function idHeader(messageId: string, furtherLines = ''): MsgHdrs {
  return headerOf(`Nats-Msg-Id: ${messageId}\r\n${furtherLines}`);
}

/** The header of a publish that is stored only if the last message of its subject has this sequence; 0: there is none. */
export const ifLastIs = (seq: number): MsgHdrs => headerOf(`Nats-Expected-Last-Subject-Sequence: ${seq}\r\n`);

const headerOf = (lines: string): MsgHdrs => new EncodedHeader(`NATS/1.0\r\n${lines}\r\n`) as unknown as MsgHdrs;

class EncodedHeader {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  encode(): Uint8Array {
    return Buffer.from(this.#text, 'latin1');
  }
}
