// The page: one card for each camera, fed by a WebSocket of newest masks.
import { Screen } from "./screen.js";
import { Plot } from "./plot.js";
import { Zones } from "./zones.js";

const RETRY_MS = 2000;
// The server says something at least each 2 s.
const SILENT_MS = 4500;
const decoder = new TextDecoder();
const pageState = document.getElementById("page-state");

class Camera {
  constructor(name) {
    this.name = name;
    this.card = document.getElementById("camera").content.cloneNode(true).firstElementChild;
    this.card.id = `camera-${name}`;
    this.find("h2").textContent = `Camera ${name}`;
    this.screen = new Screen(this.find(".picture"));
    this.plot = new Plot(this.find(".plot"));
    this.zones = new Zones(this.card, name, this.screen);
    for (const radio of this.card.querySelectorAll(".look [type=radio]")) {
      radio.name = `look-${name}`;
      radio.addEventListener("change", () => { this.screen.look = radio.value; this.screen.draw(); });
    }
    const opacity = this.find(".opacity"), tint = this.find(".tint");
    const set = () => { this.screen.opacity = opacity.value / 100; this.screen.tint = tint.value; this.screen.draw(); };
    opacity.addEventListener("input", set);
    tint.addEventListener("input", set);
    set();
    this.lostBefore = null;
    this.toldAt = 0;
    setInterval(() => this.watch(), 500);
    this.connect();
  }

  find(selector) { return this.card.querySelector(selector); }

  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.heardAt = performance.now();
    this.socket = new WebSocket(`${scheme}://${location.host}/live?camera=${encodeURIComponent(this.name)}`);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.socket.send("next");
    this.socket.onmessage = event => this.take(event.data);
    this.socket.onclose = () => {
      this.noData("the page's own server does not answer; it is tried again");
      setTimeout(() => this.connect(), RETRY_MS);
    };
  }

  // A connection that is dead does not always say so.
  watch() {
    if (this.socket.readyState === WebSocket.OPEN && performance.now() - this.heardAt > SILENT_MS) {
      this.noData("the page's own server is silent");
      this.socket.close();
    }
  }

  async take(buffer) {
    this.heardAt = performance.now();
    const view = new DataView(buffer);
    const textSize = view.getUint32(0, true), maskSize = view.getUint32(4, true);
    const body = JSON.parse(decoder.decode(new Uint8Array(buffer, 8, textSize)));
    try {
      if (!body.data) {
        this.noData(body.reason, body.why);
      } else if (!body.still) {
        const bits = new Uint8Array(buffer, 8 + textSize, maskSize);
        const jpeg = new Uint8Array(buffer, 8 + textSize + maskSize);
        await this.screen.take(body, bits, jpeg.length ? jpeg : null);
        this.data(body);
      }
      this.zones.told(body);
    } finally {
      // Only when this one is drawn: a slow phone gets fewer, never old ones.
      if (this.socket.readyState === WebSocket.OPEN) this.socket.send("next");
    }
  }

  data(body) {
    this.card.classList.remove("dead");
    this.find(".no-data").hidden = true;
    this.say(".hint", body.picture ? "" : "Masks come, and no pictures: set publish.images = true in the daemon's " +
      "configuration and reload it (systemctl reload gnetsegd).");
    const now = performance.now();
    this.plot.add(now, body.fps, body.latency_s * 1000, body.share * 100);
    if (now - this.toldAt < 250) return;
    this.toldAt = now;
    this.put(".fps", `${body.fps.toFixed(1)} of ${body.fps_nominal || "?"} a second`);
    this.put(".latency", `${(body.latency_s * 1000).toFixed(0)} ms`);
    this.put(".share", `${(body.share * 100).toFixed(1)} % of the picture`);
    this.put(".backend", `${body.backend}${body.fallback ? " (stands in)" : ""}, ${body.model}`);
    this.put(".dropped", `${body.dropped_camera} by the camera, ${body.dropped_daemon} here`);
    this.plot.draw();
    this.screen.describe(body.share);
  }

  noData(reason, why = "") {
    const words = `No data: ${reason}`;
    this.card.classList.add("dead");
    this.card.dataset.why = why;
    const notice = this.find(".no-data");
    // The text is set only when it changes: a screen reader would say it again.
    if (notice.textContent !== words) notice.textContent = words;
    notice.hidden = false;
    this.plot.gap(performance.now());
    this.plot.draw();
    this.put(".fps", "none");
    this.screen.canvas.setAttribute("aria-label", words);
  }

  put(selector, text) { this.find(selector).textContent = text; }

  say(selector, text) {
    const place = this.find(selector);
    if (place.textContent !== text) place.textContent = text;
    place.hidden = !text;
  }
}

async function logIn(token) {
  const answer = await fetch("/login", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }),
  });
  if (!answer.ok) pageState.textContent = (await answer.text()).trim();
  return answer.ok;
}

const shown = new Map();

async function start() {
  const inAddress = new URLSearchParams(location.hash.slice(1)).get("token");
  if (inAddress) {
    await logIn(inAddress);
    // The token stays neither in the address nor in the history.
    history.replaceState(null, "", location.pathname);
  }
  await look();
}

async function look() {
  let answer;
  try {
    answer = await fetch("/cameras");
  } catch {
    pageState.textContent = "The page's server does not answer.";
    setTimeout(look, RETRY_MS);
    return;
  }
  const form = document.getElementById("login");
  form.hidden = answer.status !== 401;
  if (answer.status === 401) {
    pageState.textContent = "This page is shared with whoever has its token.";
    return;
  }
  if (!answer.ok) {
    pageState.textContent = (await answer.text()).trim();
    setTimeout(look, RETRY_MS);
    return;
  }
  const names = await answer.json();
  for (const name of names) {
    if (shown.has(name)) continue;
    const camera = new Camera(name);
    shown.set(name, camera);
    document.getElementById("cameras").append(camera.card);
  }
  pageState.textContent = shown.size === 1 ? "1 camera" : `${shown.size} cameras`;
  setTimeout(look, 10 * RETRY_MS);
}

document.getElementById("login").addEventListener("submit", async event => {
  event.preventDefault();
  if (await logIn(document.getElementById("token").value)) await look();
});

start();
