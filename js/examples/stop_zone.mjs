// A robot's stop-zone: node stop_zone.mjs [ENDPOINT] [SECONDS]
// It prints GO and STOP as they change, and stops as well when there is nothing to go by.
import {MaskSubscriber, Zone} from "gnetseg"

const masks = new MaskSubscriber(process.argv[2])
const until = performance.now() + 1000 * Number(process.argv[3] ?? Infinity)
const way = Zone.box(0.3, 0.4, 0.7, 1) // left, top, right, bottom of the camera's picture
const STOP_SHARE = 0.02, GO_SHARE = 0.01 // two, so that it does not hesitate at one

let going = false, said = ""
while (performance.now() < until) {
  const mask = masks.latest(0.3)
  going = mask !== null && mask.share(way) < (going ? STOP_SHARE : GO_SHARE)
  const words = going ? "GO: the way is clear" : `STOP: ${mask ? "somebody is in the way" : masks.noData}`
  // The words of an age change all the time.
  if (words.replace(/[\d.]+ s old/, "") !== said) console.log(words)
  said = words.replace(/[\d.]+ s old/, "")
  await new Promise((resolve) => setTimeout(resolve, 20))
}
masks.close()
