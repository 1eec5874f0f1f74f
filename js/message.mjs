// The bytes of gnetsegd's messages, as docs/messages.md has them: pure functions, without ZeroMQ.

export const TOPIC_SIZE = 16
export const HEADER_SIZE = 128
const SCHEMA = 1
/** A number beyond it is none that a daemon sends. */
const NUMBER_MAX = 1e300

const CAMERA_NAME = /^[a-z0-9_-]{1,8}$/
const PRINTABLE = /^[\x20-\x7e]*$/

const text = "string", number = "number", whole = "whole", yes = "boolean", table = "object"
const FIELDS = {
  info: {
    schema: whole, version: text, camera: text, session: whole, backend: text,
    model: {id: text, sha256: text, title: text, licence: text},
    labels: [text], persons: [whole],
    input: {width: whole, height: whole, pixel_format: text},
    mask: {width: whole, height: whole, bits: whole, stride: whole},
    geometry: {
      mode: text, x: number, y: number, width: number, height: number, sensor_width: whole, sensor_height: whole,
    },
    fps_nominal: number, monotonic_to_wall_offset_ns: whole,
  },
  status: {
    schema: whole, camera: text, session: whole, state: text, reason: text, backend: text, fallback: yes,
    fps: number, subscribers: yes, uptime_s: number, timestamp_ns: whole,
    counters: {
      frames: whole, masks: whole, dropped_camera: whole, dropped_daemon: whole, losses: whole,
      camera_reopens: whole, accelerator_reopens: whole,
    },
    camera_device: {driver: text, description: text, fps: number},
    accelerator: table,
  },
}

/** kind/camera, padded with NUL to 16 characters. RangeError for a camera's name that does not fit. */
export function topic(kind, camera) {
  if (!CAMERA_NAME.test(camera)) throw new RangeError("a camera's name is 1 to 8 of a-z, 0-9, '_' and '-'")
  return `${kind}/${camera}`.padEnd(TOPIC_SIZE, "\0")
}

/** {kind, camera} of a message (a Buffer), or null for a topic that is none. */
export function parseTopic(message) {
  if (message.length < TOPIC_SIZE) return null
  const found = /^([a-z]+)\/([a-z0-9_-]{1,8})\0+$/.exec(message.toString("latin1", 0, TOPIC_SIZE))
  return found && {kind: found[1], camera: found[2]}
}

/** The header of a mask message (a Buffer), or null for whatever docs/messages.md says to refuse. */
export function parseHeader(message) {
  const of = parseTopic(message)
  if (of?.kind !== "mask" || message.length < HEADER_SIZE) return null
  if (message.toString("latin1", 16, 20) !== "GSEG" || message[20] !== 1) return null
  const payloadOffset = message.readUInt16LE(22), payloadSize = message.readUInt32LE(112)
  const [bits, width, height, stride] = [
    message[28], message.readUInt16LE(30), message.readUInt16LE(32), message.readUInt16LE(34),
  ]
  const backend = message.toString("latin1", 80, 96).replace(/\0+$/, "")
  const good =
    payloadOffset >= HEADER_SIZE && message.length === payloadOffset + payloadSize && [1, 2, 4, 8].includes(bits) &&
    width > 0 && height > 0 && stride === Math.ceil((width * bits) / 8) && payloadSize === stride * height &&
    PRINTABLE.test(backend)
  if (!good) return null
  return {
    camera: of.camera, width, height, bits, stride, classes: message[29], payloadOffset, payloadSize, backend,
    fallback: (message.readUInt32LE(24) & 1) === 1,
    sequence: message.readBigUInt64LE(40),
    session: message.readBigUInt64LE(48),
    sensorTimestampNs: message.readBigUInt64LE(56),
    publishTimestampNs: message.readBigUInt64LE(64),
    droppedCamera: message.readUInt32LE(72),
    droppedDaemon: message.readUInt32LE(76),
    modelHash: message.toString("hex", 96, 112),
  }
}

/** One label a byte, row by row, of a message whose header is good. */
export function unpack(message, {width, height, bits, stride, payloadOffset}) {
  const labels = new Uint8Array(width * height)
  const perByte = 8 / bits, low = (1 << bits) - 1
  for (let y = 0, to = 0; y < height; y++) {
    const row = payloadOffset + y * stride
    for (let x = 0; x < width; x++)
      labels[to++] = (message[row + Math.floor(x / perByte)] >> (8 - bits * ((x % perByte) + 1))) & low
  }
  return labels
}

function fits(value, form) {
  if (Array.isArray(form)) return Array.isArray(value) && value.every((item) => fits(item, form[0]))
  if (typeof form === "object")
    return fits(value, table) && Object.entries(form).every(([key, inner]) => key in value && fits(value[key], inner))
  if (form === table) return typeof value === "object" && value !== null && !Array.isArray(value)
  if (form === number) return typeof value === "number" && Math.abs(value) < NUMBER_MAX
  if (form === whole) return Number.isInteger(value)
  return typeof value === form
}

/** The body of an info or status message (a Buffer), or null for what docs/messages.md says to refuse. */
export function parseJson(message) {
  const of = parseTopic(message)
  if (of?.kind !== "info" && of?.kind !== "status") return null
  try {
    const words = new TextDecoder("utf-8", {fatal: true}).decode(message.subarray(TOPIC_SIZE))
    const body = JSON.parse(words)
    return fits(body, FIELDS[of.kind]) && body.schema === SCHEMA && body.camera === of.camera ? body : null
  } catch {
    return null
  }
}
