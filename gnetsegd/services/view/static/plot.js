// The last minutes: masks a second, latency and share of person, one below the other.

const SPAN_S = 180;
const HEIGHT = 150;
const ROWS = [
  { name: "masks/s", key: 1, least: 10 },
  { name: "latency ms", key: 2, least: 50 },
  { name: "person %", key: 3, least: 10 },
];

export class Plot {
  constructor(canvas) {
    this.canvas = canvas;
    this.points = [];   // [second, masks/s, ms, %], or [second] for a gap
    canvas.setAttribute("aria-label", "No data yet");
  }

  add(now, ...values) {
    const second = Math.floor(now / 1000), last = this.points.at(-1);
    if (last && last[0] === second) return;
    this.points.push([second, ...values]);
    while (this.points.length && this.points[0][0] < second - SPAN_S) this.points.shift();
  }

  gap(now) {
    const last = this.points.at(-1);
    if (last && last.length > 1) this.points.push([Math.floor(now / 1000)]);
  }

  draw() {
    const { canvas } = this, context = canvas.getContext("2d"), scale = window.devicePixelRatio || 1;
    const across = Math.round(canvas.clientWidth * scale) || 640, down = Math.round(HEIGHT * scale);
    if (canvas.width !== across || canvas.height !== down) Object.assign(canvas, { width: across, height: down });
    context.setTransform(scale, 0, 0, scale, 0, 0);
    const style = getComputedStyle(canvas), text = style.getPropertyValue("--dim"), line = style.getPropertyValue("--accent");
    const width = across / scale, height = HEIGHT, rowHeight = height / ROWS.length, end = Math.floor(performance.now() / 1000);
    context.clearRect(0, 0, width, height);
    context.font = "13px system-ui, sans-serif";
    ROWS.forEach((row, index) => {
      const top = index * rowHeight + 4, bottom = (index + 1) * rowHeight - 6;
      const values = this.points.filter(point => point.length > 1).map(point => point[row.key]);
      const most = Math.max(row.least, ...values);
      context.strokeStyle = context.fillStyle = text;
      context.globalAlpha = 0.35;
      context.beginPath(); context.moveTo(0, bottom + 0.5); context.lineTo(width, bottom + 0.5); context.stroke();
      context.globalAlpha = 1;
      context.fillText(`${row.name}, up to ${most.toFixed(0)}`, 2, top + 10);
      context.strokeStyle = line;
      context.lineWidth = 2;
      context.beginPath();
      let on = false;
      for (const point of this.points) {
        if (point.length === 1) { on = false; continue; }
        const x = width * (1 - (end - point[0]) / SPAN_S), y = bottom - (bottom - top - 12) * point[row.key] / most;
        if (on) context.lineTo(x, y); else context.moveTo(x, y);
        on = true;
      }
      context.stroke();
    });
    const last = this.points.at(-1);
    canvas.setAttribute("aria-label", last && last.length > 1
      ? `The last three minutes; now ${last[1].toFixed(0)} masks a second, ${last[2].toFixed(0)} milliseconds, ` +
        `person on ${last[3].toFixed(0)} percent`
      : "The last three minutes; no data now");
  }
}
