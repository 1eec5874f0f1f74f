// Zones and ignored areas: drawn by hand, by keyboard or by numbers, and saved by the server.

const VERSION = 1;

export class Zones {
  constructor(card, camera, screen) {
    this.card = card;
    this.screen = screen;
    this.url = `/zones?camera=${encodeURIComponent(camera)}`;
    this.find = selector => card.querySelector(selector);
    for (const button of card.querySelectorAll(".draw")) {
      button.addEventListener("click", () => this.begin(button.dataset.kind));
    }
    this.find(".undo").addEventListener("click", () => this.undo());
    this.find(".cancel").addEventListener("click", () => this.end());
    this.find(".drawing").addEventListener("submit", event => { event.preventDefault(); this.save(); });
    this.find(".by-numbers").addEventListener("submit", event => { event.preventDefault(); this.add(event.target); });
    screen.canvas.addEventListener("pointerdown", event => {
      if (!screen.drawing) return;
      event.preventDefault();
      this.corner(screen.toSensor(event));
    });
    screen.canvas.addEventListener("keydown", event => this.key(event));
    this.find(".zones").addEventListener("toggle", () => { if (!this.find(".zones").open) this.end(); });
    this.load();
  }

  say(words) { this.find(".zones-state").textContent = words; }

  async load() {
    const answer = await fetch(this.url).catch(() => null);
    if (answer && answer.ok) this.show(await answer.json());
  }

  show(body) {
    this.screen.areas = body.zones;
    this.screen.draw();
    const list = this.find(".list");
    list.replaceChildren(...body.zones.map((area, index) => {
      const row = document.createElement("li"), what = document.createElement("span"), away = document.createElement("button");
      what.className = "what";
      what.dataset.name = area.name;
      what.textContent = `${area.name}: ${area.kind === "ignored" ? "ignored" : "zone"}, ${area.points.length} corners`;
      away.type = "button";
      away.textContent = `Remove ${area.name}`;
      away.addEventListener("click", () => this.send(this.screen.areas.filter((_, other) => other !== index)));
      row.append(what, away);
      return row;
    }));
    if (body.trouble) this.say(body.trouble);
  }

  // What the server says of each zone with a mask.
  told(body) {
    for (const what of this.card.querySelectorAll(".what")) {
      const share = body.zones?.[what.dataset.name];
      const words = share === undefined ? "" : share === null ? " – the mask does not show it" : ` – ${(share * 100).toFixed(0)} % person`;
      what.textContent = what.textContent.split(" – ")[0] + words;
    }
  }

  begin(kind) {
    this.screen.drawing = { kind, points: [] };
    this.card.classList.add("drawing-now");
    this.find(".drawing").hidden = false;
    this.find(".name").value = "";
    this.screen.canvas.scrollIntoView({ block: "nearest" });
    this.screen.canvas.focus({ preventScroll: true });
    this.say("0 corners");
    this.screen.draw();
  }

  corner(point) {
    this.screen.drawing.points.push(point.map(value => Math.round(value * 1e4) / 1e4));
    this.say(`${this.screen.drawing.points.length} corners`);
    this.screen.draw();
  }

  undo() {
    this.screen.drawing?.points.pop();
    this.say(`${this.screen.drawing?.points.length ?? 0} corners`);
    this.screen.draw();
  }

  end() {
    this.screen.drawing = this.screen.cross = null;
    this.card.classList.remove("drawing-now");
    this.find(".drawing").hidden = true;
    this.say("");
    this.screen.draw();
  }

  key(event) {
    if (!this.screen.drawing) return;
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step) this.screen.moveCross(...step);
    else if (event.key === " ") this.corner(this.screen.moveCross(0, 0));
    else if (event.key === "Backspace") this.undo();
    else if (event.key === "Escape") this.end();
    else if (event.key === "Enter") this.find(".name").focus();
    else return;
    event.preventDefault();
  }

  async save() {
    const { kind, points } = this.screen.drawing;
    if (await this.send([...this.screen.areas, { name: this.find(".name").value.trim(), kind, points }])) {
      this.end();
      this.say("Saved.");
    }
  }

  async add(form) {
    const [left, top, right, bottom] = ["left", "top", "right", "bottom"].map(name => form.elements[name].value / 100);
    const points = [[left, top], [right, top], [right, bottom], [left, bottom]];
    const area = { name: form.elements.name.value.trim(), kind: form.elements.kind.value, points };
    if (await this.send([...this.screen.areas, area])) this.say("Saved.");
  }

  async send(zones) {
    let answer;
    try {
      answer = await fetch(this.url, {
        method: "PUT", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ version: VERSION, zones }),
      });
    } catch {
      this.say("The page's server does not answer; nothing is saved.");
      return false;
    }
    if (!answer.ok) {
      this.say((await answer.text()).trim());
      return false;
    }
    this.show(await answer.json());
    return true;
  }
}
