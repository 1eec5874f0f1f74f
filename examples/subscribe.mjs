// The newest person mask: npm install zeromq && node subscribe.mjs [ENDPOINT] [MASKS]
// docs/messages.md describes the bytes.
import {Subscriber} from "zeromq"

const endpoint = process.argv[2] ?? "ipc:///run/gnetsegd/masks.sock"
let left = Number(process.argv[3] ?? Infinity) // how many masks; else for ever

/** The mask in the message m (a Buffer), or null if it is none of version 1. */
export function parse(m) {
  if (m.length < 128 || m.toString("latin1", 16, 20) !== "GSEG" || m[20] !== 1) return null
  const headerSize = m.readUInt16LE(22)
  const [bits, width, height, stride] = [m[28], m.readUInt16LE(30), m.readUInt16LE(32), m.readUInt16LE(34)]
  const payloadSize = m.readUInt32LE(112)
  const good =
    headerSize >= 128 && m.length === headerSize + payloadSize && [1, 2, 4, 8].includes(bits) && width > 0 &&
    height > 0 && stride === Math.ceil((width * bits) / 8) && payloadSize === stride * height
  if (!good) return null
  const pixels = m.subarray(headerSize)
  return {
    width,
    height,
    sequence: m.readBigUInt64LE(40),
    sensorNs: m.readBigUInt64LE(56),
    fallback: (m.readUInt32LE(24) & 1) === 1,
    backend: m.toString("latin1", 80, 96).replace(/\0+$/, ""),
    label: (x, y) =>
      (pixels[y * stride + ((x * bits) >> 3)] >> (8 - bits - ((x * bits) & 7))) & ((1 << bits) - 1),
  }
}

/** A socket for one topic that holds the newest message only. */
function subscriber(topic, options) {
  const socket = new Subscriber({conflate: true, linger: 0, ...options})
  socket.subscribe(topic.padEnd(16, "\0")) // the NULs belong to the topic
  socket.connect(endpoint)
  return socket
}

// Which labels are persons: never a guess, since label 1 may be a building.
let persons = null
const infos = subscriber("info/cam0")
async function watchInfo() {
  for await (const [message] of infos) persons = new Set(JSON.parse(message.subarray(16)).persons)
}
watchInfo()

// When no mask comes for 3 s, the program ends with an error (EAGAIN) and does not go on blindly.
const socket = subscriber("mask/cam0", {receiveTimeout: 3000})
for await (const [message] of socket) {
  const mask = parse(message)
  if (!mask || !persons) continue
  let person = 0
  for (let y = 0; y < mask.height; y++)
    for (let x = 0; x < mask.width; x++) person += persons.has(mask.label(x, y))
  const ageMs = Number(process.hrtime.bigint() - mask.sensorNs) / 1e6 // hrtime is CLOCK_MONOTONIC
  const share = Math.round((100 * person) / (mask.width * mask.height))
  console.log(
    `frame ${mask.sequence}: ${ageMs.toFixed(0)} ms old, ${share}% person, ` +
      `by ${mask.backend}${mask.fallback ? " (fallback)" : ""}`,
  )
  if (--left === 0) break
}
socket.close()
infos.close()
