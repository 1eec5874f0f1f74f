// One camera's picture with the mask over it.

const HEAT_S = 60;
const CROSS_STEP = 0.02;

function canvasOf(width, height) {
  const made = document.createElement("canvas");
  made.width = width;
  made.height = height;
  return made;
}

export class Screen {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.look = "outline";
    this.opacity = 0.45;
    this.tint = "#00c878";
    this.picture = null;          // a canvas or ImageBitmap of the camera's picture
    this.body = null;
    this.mask = canvasOf(1, 1);   // white and opaque where a person is
    this.work = canvasOf(1, 1);
    this.heat = { sums: null, at: 0, seconds: [], canvas: canvasOf(1, 1) };
    this.areas = [];
    this.drawing = null;          // corners of the area that is being drawn
    this.cross = null;
  }

  // The part of the sensor's picture that the canvas shows: x, y, width, height.
  get region() {
    const body = this.body;
    return body === null ? [0, 0, 1, 1] : (this.picture ? body.picture_region : body.mask_region);
  }

  async take(body, bits, jpeg) {
    const picture = jpeg === null ? null : await this.decode(jpeg);
    if (this.picture && this.picture.close) this.picture.close();
    this.picture = picture;
    this.body = body;
    const [width, height] = body.mask;
    const stride = (width + 7) >> 3;
    if (this.mask.width !== width || this.mask.height !== height) {
      this.mask = canvasOf(width, height);
      this.heat.sums = null;
    }
    const pixels = new ImageData(width, height), data = new Uint32Array(pixels.data.buffer);
    for (let y = 0, i = 0; y < height; y++) {
      for (let x = 0; x < width; x++, i++) {
        if (bits[y * stride + (x >> 3)] & (128 >> (x & 7))) data[i] = 0xffffffff;
      }
    }
    this.mask.getContext("2d").putImageData(pixels, 0, 0);
    this.warm(data, width, height);
    this.fit();
    this.draw();
  }

  async decode(jpeg) {
    const blob = new Blob([jpeg], { type: "image/jpeg" });
    try {
      return await createImageBitmap(blob);
    } catch {
      return null;   // damaged: the mask is shown alone
    }
  }

  fit() {
    const [, , across, down] = this.region, [sensorWidth, sensorHeight] = this.body.sensor;
    const width = this.picture ? this.picture.width : 640;
    const height = this.picture ? this.picture.height : Math.round(640 * (down * sensorHeight) / (across * sensorWidth));
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = this.work.width = width;
      this.canvas.height = this.work.height = height;
    }
    if (this.work.width !== width || this.work.height !== height) {
      this.work.width = width;
      this.work.height = height;
    }
  }

  // Where the mask lies on the canvas.
  maskPlace() {
    const [x, y, width, height] = this.region, [mx, my, mw, mh] = this.body.mask_region;
    const { width: w, height: h } = this.canvas;
    return [(mx - x) / width * w, (my - y) / height * h, mw / width * w, mh / height * h];
  }

  // How often somebody was there, over the last minute: one sum for each second.
  warm(data, width, height) {
    const heat = this.heat, now = performance.now() / 1000;
    if (heat.sums === null) Object.assign(heat, { sums: new Float32Array(width * height), seconds: [], at: 0 });
    if (now - heat.at < 1) return;
    heat.at = now;
    const second = new Uint8Array(data.length);
    for (let i = 0; i < data.length; i++) if (data[i]) { second[i] = 1; heat.sums[i]++; }
    heat.seconds.push(second);
    if (heat.seconds.length > HEAT_S) {
      const oldest = heat.seconds.shift();
      for (let i = 0; i < oldest.length; i++) heat.sums[i] -= oldest[i];
    }
    heat.canvas.width = width;
    heat.canvas.height = height;
    const pixels = new ImageData(width, height), most = heat.seconds.length;
    for (let i = 0; i < heat.sums.length; i++) {
      const share = heat.sums[i] / most;
      if (share > 0) pixels.data.set([255, 200 * (1 - share), 0, 40 + 130 * share], 4 * i);
    }
    heat.canvas.getContext("2d").putImageData(pixels, 0, 0);
  }

  draw() {
    if (this.body === null) return;
    const { context, canvas } = this, { width, height } = canvas, place = this.maskPlace();
    context.globalAlpha = 1;
    context.globalCompositeOperation = "source-over";
    if (this.look === "blur" && this.picture) this.drawBlurred(width, height);
    else if (this.look === "cut-out") this.drawBoard(width, height);
    else if (this.picture) context.drawImage(this.picture, 0, 0, width, height);
    else this.fill("#20282c", width, height);
    if (this.look === "blur" || this.look === "cut-out") {
      if (this.picture) context.drawImage(this.person(this.picture), 0, 0);
      else context.drawImage(this.tinted(place), 0, 0);
    } else if (this.look === "heat") {
      context.drawImage(this.heat.canvas, ...place);
    } else {
      context.globalAlpha = this.look === "colour" || !this.picture ? this.opacity : 0;
      context.drawImage(this.tinted(place), 0, 0);
      context.globalAlpha = 1;
      context.drawImage(this.outline(place), 0, 0);
    }
    this.drawEdge(place);
    this.drawAreas();
  }

  fill(colour, width, height) {
    this.context.fillStyle = colour;
    this.context.fillRect(0, 0, width, height);
  }

  drawBlurred(width, height) {
    // Small and large again: a blur that every browser has.
    const small = canvasOf(Math.max(2, width >> 5), Math.max(2, height >> 5));
    small.getContext("2d").drawImage(this.picture, 0, 0, small.width, small.height);
    this.context.imageSmoothingQuality = "high";
    this.context.drawImage(small, 0, 0, width, height);
  }

  drawBoard(width, height) {
    this.fill("#ffffff", width, height);
    this.context.fillStyle = "#d5dbd9";
    const step = Math.max(8, width >> 5);
    for (let y = 0; y < height; y += step)
      for (let x = (y / step) % 2 ? step : 0; x < width; x += 2 * step) this.context.fillRect(x, y, step, step);
  }

  clearedWork() {
    const context = this.work.getContext("2d");
    context.globalCompositeOperation = "source-over";
    context.globalAlpha = 1;
    context.clearRect(0, 0, this.work.width, this.work.height);
    return context;
  }

  person(picture) {
    const context = this.clearedWork(), { width, height } = this.work;
    context.drawImage(this.mask, ...this.maskPlace());
    context.globalCompositeOperation = "source-in";
    context.drawImage(picture, 0, 0, width, height);
    return this.work;
  }

  tinted(place) {
    const context = this.clearedWork();
    context.drawImage(this.mask, ...place);
    context.globalCompositeOperation = "source-in";
    context.fillStyle = this.tint;
    context.fillRect(0, 0, this.work.width, this.work.height);
    return this.work;
  }

  outline([x, y, width, height]) {
    const context = this.clearedWork(), thick = Math.max(2, this.work.width / 240);
    for (let step = 0; step < 8; step++) {
      const angle = step * Math.PI / 4;
      context.drawImage(this.mask, x + thick * Math.cos(angle), y + thick * Math.sin(angle), width, height);
    }
    context.globalCompositeOperation = "destination-out";
    context.drawImage(this.mask, x, y, width, height);
    context.globalCompositeOperation = "source-in";
    context.fillStyle = this.tint;
    context.fillRect(0, 0, this.work.width, this.work.height);
    return this.work;
  }

  // What lies outside is seen by the camera and not by the network.
  drawEdge([x, y, width, height]) {
    const { context, canvas } = this;
    if (x <= 1 && y <= 1 && x + width >= canvas.width - 1 && y + height >= canvas.height - 1) return;
    context.fillStyle = "rgba(0, 0, 0, 0.45)";
    context.beginPath();
    context.rect(0, 0, canvas.width, canvas.height);
    context.rect(x, y, width, height);
    context.fill("evenodd");
  }

  toCanvas([sx, sy]) {
    const [x, y, width, height] = this.region;
    return [(sx - x) / width * this.canvas.width, (sy - y) / height * this.canvas.height];
  }

  toSensor(event) {
    const box = this.canvas.getBoundingClientRect(), [x, y, width, height] = this.region;
    return [x + (event.clientX - box.left) / box.width * width, y + (event.clientY - box.top) / box.height * height];
  }

  drawAreas() {
    const { context } = this;
    context.lineWidth = Math.max(2, this.canvas.width / 320);
    context.font = `${Math.max(14, this.canvas.width / 40)}px system-ui, sans-serif`;
    for (const area of this.areas) this.drawArea(area.points, area.kind, area.name, true);
    if (this.drawing) this.drawArea(this.drawing.points, this.drawing.kind, "", false);
    if (this.cross) {
      const [x, y] = this.toCanvas(this.cross), arm = this.canvas.width / 24;
      context.strokeStyle = "#ffffff";
      context.beginPath();
      context.moveTo(x - arm, y); context.lineTo(x + arm, y); context.moveTo(x, y - arm); context.lineTo(x, y + arm);
      context.stroke();
    }
  }

  drawArea(points, kind, name, closed) {
    if (!points.length) return;
    const { context } = this, colour = kind === "ignored" ? "#ff9d42" : "#6fb7ff";
    context.strokeStyle = context.fillStyle = colour;
    context.setLineDash(kind === "ignored" ? [10, 6] : []);
    context.beginPath();
    for (const point of points) context.lineTo(...this.toCanvas(point));
    if (closed) context.closePath();
    context.stroke();
    context.setLineDash([]);
    for (const point of closed ? [] : points) {
      const [x, y] = this.toCanvas(point);
      context.fillRect(x - 4, y - 4, 8, 8);
    }
    if (name) {
      const [x, y] = this.toCanvas(points.reduce((a, b) => (b[1] < a[1] ? b : a)));
      const label = kind === "ignored" ? `${name} (ignored)` : name;
      const left = Math.min(Math.max(2, x), this.canvas.width - context.measureText(label).width - 2);
      context.fillText(label, left, Math.max(18, y - 6));
    }
  }

  moveCross(dx, dy) {
    const [x, y, width, height] = this.region;
    const [cx, cy] = this.cross ?? [x + width / 2, y + height / 2];
    this.cross = [
      Math.min(x + width, Math.max(x, cx + dx * CROSS_STEP * width)),
      Math.min(y + height, Math.max(y, cy + dy * CROSS_STEP * height)),
    ];
    this.draw();
    return this.cross;
  }

  describe(share) {
    const words = share > 0.005 ? `a person on ${(share * 100).toFixed(0)} percent of the picture` : "nobody";
    this.canvas.setAttribute("aria-label", `Live picture: ${words}`);
  }
}
