import type {Header} from "./message.mjs"

export declare const ALIVE_LIMIT_S: 3
export declare const DEFAULT_ENDPOINT: string

/** A part of what the camera sees, in fractions (0 to 1) of the upright sensor's picture. */
export declare class Zone {
  /** A polygon's corners [x, y], in order. RangeError for fewer than three, or none that is a number. */
  constructor(corners: ReadonlyArray<readonly [number, number]>)
  /** RangeError for one that encloses nothing. */
  static box(left: number, top: number, right: number, bottom: number): Zone
  has(x: number, y: number): boolean
}

/** The part of the upright sensor's picture that fills the mask, in fractions of it. */
export interface Geometry {
  mode: string
  x: number
  y: number
  width: number
  height: number
  sensor_width: number
  sensor_height: number
}

export interface Box {
  left: number
  top: number
  right: number
  bottom: number
}

/** One mask. Positions are pixels from its top left corner. */
export declare class Mask {
  readonly header: Header
  /** The label of each pixel, row by row. */
  readonly labels: Uint8Array
  readonly width: number
  readonly height: number
  readonly geometry: Geometry
  /** Is a person here? Which labels are persons says the daemon's info. */
  person(x: number, y: number): boolean
  /** Seconds since the exposure, as of now. */
  get ageS(): number
  /** How much is person, 0 to 1: of the mask, or of a zone. RangeError if the mask shows nothing of the zone. */
  share(zone?: Zone): number
  /** Around all persons, right and bottom beyond them; null where there is nobody. */
  box(): Box | null
}

/** Masks of one camera, of which only those are given that can be gone by. */
export declare class MaskSubscriber {
  /** RangeError for a camera's name that does not fit; zeromq's own for an endpoint that is none. */
  constructor(endpoint?: string, camera?: string)
  /** Why `latest` gave nothing, the last time that it was called; empty if it gave a mask. */
  noData: string
  /** Messages that were none, and have been skipped. */
  badMessages: number
  /** The newest mask that can be gone by, exposed within `maxAgeS` (3 by default); else null. Never waits. */
  latest(maxAgeS?: number): Mask | null
  close(): void
}
