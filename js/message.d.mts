/** The bytes of gnetsegd's messages: docs/messages.md. */
export declare const TOPIC_SIZE: 16
export declare const HEADER_SIZE: 128

export interface Header {
  camera: string
  width: number
  height: number
  /** Of a pixel: 8, 4, 2 or 1. */
  bits: number
  /** Bytes of a row. */
  stride: number
  classes: number
  payloadOffset: number
  payloadSize: number
  backend: string
  fallback: boolean
  sequence: bigint
  session: bigint
  /** CLOCK_MONOTONIC of the daemon's machine, in ns. */
  sensorTimestampNs: bigint
  publishTimestampNs: bigint
  droppedCamera: number
  droppedDaemon: number
  /** First half of the SHA-256 of the network's file, in hex. */
  modelHash: string
}

/** kind/camera, padded with NUL. RangeError for a camera's name that does not fit. */
export declare function topic(kind: string, camera: string): string
export declare function parseTopic(message: Buffer): {kind: string; camera: string} | null
/** null for whatever docs/messages.md says to refuse. */
export declare function parseHeader(message: Buffer): Header | null
/** One label a byte, row by row. */
export declare function unpack(
  message: Buffer,
  header: Pick<Header, "width" | "height" | "bits" | "stride" | "payloadOffset">,
): Uint8Array
/** The body of an info or status; null for whatever docs/messages.md says to refuse. */
export declare function parseJson(message: Buffer): Record<string, any> | null
