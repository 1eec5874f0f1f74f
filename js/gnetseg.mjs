// Person masks of gnetsegd for Node.js: js/README.md shows it, docs/client.md explains the names.
import {Subscriber} from "zeromq"
import {parseHeader, parseJson, topic, unpack} from "./message.mjs"

/** A daemon that is alive has said something within this. */
export const ALIVE_LIMIT_S = 3
export const DEFAULT_ENDPOINT = "ipc:///run/gnetsegd/masks.sock"
const CORNERS_MAX = 256

/** Seconds since a CLOCK_MONOTONIC time of this machine, as a BigInt or a number of nanoseconds. */
const ageS = (thenNs) => Number(process.hrtime.bigint() - BigInt(thenNs)) / 1e9

/** A part of what the camera sees: corners [x, y] in fractions of the upright sensor's picture. */
export class Zone {
  #corners

  constructor(corners) {
    const good = Array.isArray(corners) && corners.every((corner) => corner?.length === 2 && corner.every(Number.isFinite))
    if (!good) throw new RangeError("a zone's corners are pairs of numbers")
    if (corners.length < 3 || corners.length > CORNERS_MAX) throw new RangeError(`a zone has 3 to ${CORNERS_MAX} corners`)
    this.#corners = corners.map(([x, y]) => [x, y])
  }

  static box(left, top, right, bottom) {
    if (!(left < right && top < bottom)) throw new RangeError("a zone's box is left, top, right, bottom")
    return new Zone([[left, top], [right, top], [right, bottom], [left, bottom]])
  }

  /** Even-odd: is this place of the sensor's picture inside? */
  has(x, y) {
    if (x < 0 || x >= 1 || y < 0 || y >= 1) return false // with letterbox, beside the picture
    let inside = false
    this.#corners.forEach(([x2, y2], i, all) => {
      const [x1, y1] = all.at(i - 1)
      if (y1 <= y !== y2 <= y && x < x1 + (y - y1) * ((x2 - x1) / (y2 - y1))) inside = !inside
    })
    return inside
  }
}

/** One mask. Positions are pixels from its top left corner. */
export class Mask {
  #persons

  constructor(header, labels, info) {
    this.header = header
    this.labels = labels
    this.width = header.width
    this.height = header.height
    this.geometry = info.geometry
    this.#persons = new Set(info.persons)
  }

  /** Is a person here? Which labels are persons says the daemon's info. */
  person(x, y) {
    return this.#persons.has(this.labels[y * this.width + x])
  }

  /** Seconds since the exposure, as of now. */
  get ageS() {
    return ageS(this.header.sensorTimestampNs)
  }

  /** How much is person, 0 to 1: of the mask, or of a zone. RangeError if the mask shows nothing of the zone. */
  share(zone) {
    const {x: left, y: top, width, height} = this.geometry
    let inside = 0, persons = 0
    for (let y = 0; y < this.height; y++)
      for (let x = 0; x < this.width; x++) {
        if (zone && !zone.has(left + ((x + 0.5) / this.width) * width, top + ((y + 0.5) / this.height) * height)) continue
        inside++
        persons += this.person(x, y)
      }
    if (!inside) throw new RangeError("this mask shows nothing of the zone; the camera's crop leaves it out")
    return persons / inside
  }

  /** {left, top, right, bottom} around all persons, right and bottom beyond them; null where there is nobody. */
  box() {
    let found = null
    for (let y = 0; y < this.height; y++)
      for (let x = 0; x < this.width; x++) {
        if (!this.person(x, y)) continue
        found ??= {left: x, top: y, right: x + 1, bottom: y + 1}
        found.left = Math.min(found.left, x)
        found.right = Math.max(found.right, x + 1)
        found.bottom = y + 1
      }
    return found
  }
}

/** Masks of one camera, of which only those are given that can be gone by. */
export class MaskSubscriber {
  #sockets
  #header = null
  #labels = null
  #info = null
  #status = null

  constructor(endpoint = DEFAULT_ENDPOINT, camera = "cam0") {
    /** Why `latest` gave nothing, the last time that it was called; empty if it gave a mask. */
    this.noData = ""
    /** Messages that were none, and have been skipped. */
    this.badMessages = 0
    const takers = {
      mask: (message) => {
        const header = parseHeader(message)
        if (header) [this.#header, this.#labels] = [header, unpack(message, header)]
        return header
      },
      info: (message) => (this.#info = parseJson(message) ?? this.#info),
      status: (message) => (this.#status = parseJson(message) ?? this.#status),
    }
    this.#sockets = Object.entries(takers).map(([kind, take]) => {
      const socket = new Subscriber({conflate: true, linger: 0}) // one a topic: it keeps one message in all
      socket.subscribe(topic(kind, camera)) // before connecting: info greets once
      socket.connect(endpoint)
      this.#read(socket, take)
      return socket
    })
  }

  async #read(socket, take) {
    try {
      for await (const [message, ...more] of socket) if (more.length || !take(message)) this.badMessages++
    } catch (error) {
      if (!socket.closed) throw error
    }
  }

  close() {
    for (const socket of this.#sockets) socket.close()
  }

  /**
   * The newest mask, if its picture was exposed within `maxAgeS` seconds, the daemon runs, and its info is here;
   * else null, and `noData` says why. Between two masks the same one again: compare the sequence.
   */
  latest(maxAgeS = 3) {
    this.noData = this.#mistrust(maxAgeS)
    return this.noData ? null : new Mask(this.#header, this.#labels, this.#info)
  }

  #mistrust(maxAgeS) {
    const [header, info, status] = [this.#header, this.#info, this.#status]
    if (!status) return "no daemon has answered yet"
    if (ageS(status.timestamp_ns) > ALIVE_LIMIT_S) return "the daemon is silent"
    if (status.state !== "running") return status.reason || `the daemon is ${status.state}`
    if (!header) return "the daemon runs, and no mask has come here yet"
    if (BigInt(status.session) !== header.session) return "the daemon has restarted, and no mask has come yet"
    const age = ageS(header.sensorTimestampNs)
    if (!(age <= maxAgeS)) return `the newest mask's picture is ${age.toFixed(1)} s old`
    if (age < -maxAgeS) return "the newest mask's picture is of the future"
    const isOfIt = info && BigInt(info.session) === header.session && info.model.sha256.startsWith(header.modelHash)
    if (!isOfIt) return "the daemon's info for its masks has not come yet"
    return info.persons.length ? "" : "this network knows no persons"
  }
}
