"use strict";
// Codes in a plane, which is an origin and two orthogonal unit vectors; the place under the pointer is a code.

const MOST_DISCS = 3000, NEAR_PIXELS = 6, MARK_PIXELS = 14, EDGE_PIXELS = 17;

class PlaneMap {
  // on: {preview(z), leave(), choose(code), film(code, code), current() -> code, marks() -> {name: code}}
  constructor(canvas, run, on) {
    this.canvas = canvas; this.run = run; this.on = on;
    this.size = run.size;
    this.codes = floatsOf64(run.map.codes);
    this.count = this.codes.length / this.size;
    this.conditions = floatsOf64(run.map.conditions);
    this.hidden = new Set();
    this.pointers = new Map();
    this.dots = document.createElement("canvas");  // without the marks, drawn anew when the view changes
    if (run.map.thumbnails) {
      this.sheet = new Image();
      this.sheet.onload = () => this.redraw();
      this.sheet.src = "data:image/png;base64," + run.map.thumbnails.png;
    }
    this.setPlane(floatsOf64(run.map.origin), floatsOf64(run.map.across), floatsOf64(run.map.down));
    new ResizeObserver(() => this.redraw()).observe(canvas);
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.release(event));
    canvas.addEventListener("pointercancel", (event) => { this.pointers.delete(event.pointerId); this.on.leave(); });
    canvas.addEventListener("pointerleave", (event) => { if (!this.pointers.size && event.pointerType === "mouse") this.on.leave(); });
    canvas.addEventListener("wheel", (event) => { event.preventDefault(); this.zoom(Math.exp(-event.deltaY / 500), this.place(event)); }, {passive: false});
  }

  code(row) { return this.codes.subarray(row * this.size, (row + 1) * this.size); }
  conditionOf(row) {
    if (!this.conditions) return null;
    const width = this.conditions.length / this.count;
    return this.conditions.slice(row * width, (row + 1) * width);
  }

  setPlane(origin, across, up) {
    Object.assign(this, {origin, across, up});
    this.places = new Float32Array(2 * this.count);
    for (let row = 0, at = 0; row < this.count; row++) {
      let right = 0, above = 0;
      for (let i = 0; i < this.size; i++, at++) {
        const from = this.codes[at] - origin[i];
        right += from * across[i];
        above += from * up[i];
      }
      this.places[2 * row] = right;
      this.places[2 * row + 1] = above;
    }
    this.fit();
  }
  project(z) { const from = combined([1, z], [-1, this.origin]); return [dot(from, this.across), dot(from, this.up)]; }
  at(x, y) { return combined([1, this.origin], [x, this.across], [y, this.up]); }

  fit() {
    const sorted = [0, 1].map((axis) => this.places.filter((_, i) => i % 2 === axis).sort());
    const ends = sorted.map((values) => [values[Math.floor(0.002 * values.length)], values[Math.ceil(0.998 * values.length) - 1]]);
    this.centre = ends.map(([low, high]) => (low + high) / 2);
    this.span = Math.max(...ends.map(([low, high]) => high - low), 1e-3) * 1.1;  // of the shorter side, in units of codes
    this.redraw();
  }

  get scale() { return Math.min(this.canvas.clientWidth, this.canvas.clientHeight) / this.span; }
  place(event) { const box = this.canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; }
  toCodes([left, top]) {
    return [this.centre[0] + (left - this.canvas.clientWidth / 2) / this.scale, this.centre[1] - (top - this.canvas.clientHeight / 2) / this.scale];
  }
  toPixels(x, y) {
    return [this.canvas.clientWidth / 2 + (x - this.centre[0]) * this.scale, this.canvas.clientHeight / 2 - (y - this.centre[1]) * this.scale];
  }
  zoom(by, pixel) {
    const before = this.toCodes(pixel);
    this.span = Math.min(Math.max(this.span / by, 1e-4), 1e4);
    const after = this.toCodes(pixel);
    this.centre = [this.centre[0] + before[0] - after[0], this.centre[1] + before[1] - after[1]];
    this.redraw();
  }

  press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, {now: this.place(event), first: this.place(event), dragged: false, from: this.markNear(this.place(event))});
    if (event.pointerType !== "mouse" && this.pointers.size === 1) this.preview(event);
  }
  move(event) {
    const held = this.pointers.get(event.pointerId);
    if (!held) { if (event.pointerType === "mouse") this.preview(event); return; }
    const before = held.now;
    held.now = this.place(event);
    if (Math.hypot(held.now[0] - held.first[0], held.now[1] - held.first[1]) > 5) held.dragged = true;
    if (this.pointers.size === 2) {
      this.pinched = true;
      const other = [...this.pointers.values()].find((each) => each !== held).now;
      const distance = (one) => Math.max(10, Math.hypot(one[0] - other[0], one[1] - other[1]));
      this.pan((held.now[0] - before[0]) / 2, (held.now[1] - before[1]) / 2);
      this.zoom(distance(held.now) / distance(before), [(held.now[0] + other[0]) / 2, (held.now[1] + other[1]) / 2]);
    } else if (held.from) {
      this.preview(event);
    } else if (event.pointerType === "mouse") {
      if (held.dragged) this.pan(held.now[0] - before[0], held.now[1] - before[1]);
    } else if (!this.pinched) this.preview(event);
  }
  release(event) {
    const held = this.pointers.get(event.pointerId);
    this.pointers.delete(event.pointerId);
    if (!held) return;
    const pinched = this.pinched;
    if (!this.pointers.size) this.pinched = false;
    if (pinched) return this.on.leave();
    const place = () => ({z: this.at(...this.toCodes(held.now)), condition: this.on.current().condition, about: "a place on the map"});
    if (held.from && held.dragged) return this.on.film(held.from, place());
    if (event.pointerType === "mouse" && held.dragged) return;
    const row = this.rowNear(held.now);
    if (row >= 0) this.chooseRow(row);
    else this.on.choose(place());
  }
  pan(right, down) { this.centre = [this.centre[0] - right / this.scale, this.centre[1] + down / this.scale]; this.redraw(); }
  preview(event) { this.on.preview(this.at(...this.toCodes(this.place(event)))); }
  chooseRow(row) {
    const noun = this.run.map.of === "rows" ? "row" : "sample";
    this.on.choose({z: this.code(row).slice(), condition: this.conditionOf(row) || this.on.current().condition, about: `${noun} ${this.run.map.rows[row].toLocaleString("en")}${this.labelOf(row)}`});
  }
  labelOf(row) { return this.run.map.labels ? `, ${this.run.classes[this.run.map.labels[row]]}` : ""; }
  rowNear([left, top]) {
    const [x, y] = this.toCodes([left, top]);
    let best = -1, least = (NEAR_PIXELS / this.scale) ** 2;
    for (let row = 0; row < this.count; row++) {
      const distance = (this.places[2 * row] - x) ** 2 + (this.places[2 * row + 1] - y) ** 2;
      if (distance < least && !this.isHidden(row)) { least = distance; best = row; }
    }
    return best;
  }
  markNear(pixel) {
    const distance = ({z}) => { const [left, top] = this.markAt(z); return Math.hypot(left - pixel[0], top - pixel[1]); };
    return Object.values(this.on.marks()).find((code) => distance(code) < MARK_PIXELS);
  }
  // Where the mark of a code is: a code beyond the edge has it at the edge.
  markAt(z) {
    const inside = (value, length) => Math.min(Math.max(value, EDGE_PIXELS), length - EDGE_PIXELS), [left, top] = this.toPixels(...this.project(z));
    return [inside(left, this.canvas.clientWidth), inside(top, this.canvas.clientHeight), left, top];
  }
  isHidden(row) { return this.run.map.labels !== null && this.hidden.has(this.run.map.labels[row]); }

  nearest(z, count) {
    const distances = new Float32Array(this.count), rows = [];
    for (let row = 0, at = 0; row < this.count; row++) {
      for (let i = 0; i < this.size; i++, at++) distances[row] += (this.codes[at] - z[i]) ** 2;
      if (rows.length === count && distances[row] >= distances[rows[count - 1]]) continue;
      rows.push(row);
      rows.sort((one, other) => distances[one] - distances[other]);
      rows.length = Math.min(rows.length, count);
    }
    return rows;
  }

  hasThumbnail(row) { return Boolean(this.sheet) && row % this.run.map.thumbnails.every === 0; }
  thumbnail(context, row, left, top, size) {
    const {cell, columns, every} = this.run.map.thumbnails, number = row / every;
    context.imageSmoothingEnabled = false;
    context.drawImage(this.sheet, number % columns * cell[0], Math.floor(number / columns) * cell[1], cell[0], cell[1], left, top, size, size * cell[1] / cell[0]);
  }
  colourOfRow(row) { return this.run.map.labels ? COLOURS[this.run.map.labels[row] % COLOURS.length] : colourOf("--strong"); }

  redraw() { this.stale = true; this.draw(); }
  draw() {
    const ratio = window.devicePixelRatio || 1, width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    if (!width) return;
    if (this.stale) {
      this.stale = false;
      for (const canvas of [this.canvas, this.dots]) { canvas.width = width * ratio; canvas.height = height * ratio; }
      this.drawRows(this.dots.getContext("2d"), width, height, ratio);
    }
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.drawImage(this.dots, 0, 0);
    context.scale(ratio, ratio);
    this.drawMarks(context);
  }

  drawRows(context, width, height, ratio) {
    const visible = [], scale = this.scale, [x, y] = this.centre;  // scale asks for the size of the canvas
    for (let row = 0; row < this.count; row++) {
      const left = width / 2 + (this.places[2 * row] - x) * scale, top = height / 2 - (this.places[2 * row + 1] - y) * scale;
      if (left > -20 && left < width + 20 && top > -20 && top < height + 20 && !this.isHidden(row)) visible.push(row);
    }
    if (visible.length > MOST_DISCS) return this.drawMany(context, visible, ratio);
    const near = this.sheet && this.sheet.complete && visible.length <= width * height / 2500;
    context.scale(ratio, ratio);
    for (const row of visible) {
      const [left, top] = this.toPixels(this.places[2 * row], this.places[2 * row + 1]), colour = this.colourOfRow(row);
      if (near && this.hasThumbnail(row)) {
        this.thumbnail(context, row, left - 14, top - 14, 28);
        context.strokeStyle = colour; context.lineWidth = 1.5;
        context.strokeRect(left - 14, top - 14, 28, 28 * this.run.map.thumbnails.cell[1] / this.run.map.thumbnails.cell[0]);
      } else {
        context.fillStyle = colour; context.globalAlpha = 0.75;
        context.beginPath(); context.arc(left, top, 2.6, 0, 7); context.fill();
        context.globalAlpha = 1;
      }
    }
  }
  // Squares that are written as pixels: a million of them are there at once.
  drawMany(context, visible, ratio) {
    const {width, height} = context.canvas, picture = context.createImageData(width, height), pixels = new Uint32Array(picture.data.buffer);
    const side = Math.max(1, Math.round((visible.length > 50000 ? 1 : 2) * ratio)), scale = this.scale * ratio, colours = new Map();
    const numberOf = (text) => { const value = parseInt(text.slice(1), 16); return (0xff000000 | (value & 255) << 16 | value & 0xff00 | value >> 16) >>> 0; };
    for (const row of visible) {
      const label = this.run.map.labels ? this.run.map.labels[row] : -1;
      if (!colours.has(label)) colours.set(label, numberOf(this.colourOfRow(row)));
      const left = Math.round(width / 2 + (this.places[2 * row] - this.centre[0]) * scale), top = Math.round(height / 2 - (this.places[2 * row + 1] - this.centre[1]) * scale);
      for (let y = Math.max(0, top); y < Math.min(height, top + side); y++) {
        for (let x = Math.max(0, left); x < Math.min(width, left + side); x++) pixels[y * width + x] = colours.get(label);
      }
    }
    context.putImageData(picture, 0, 0);
  }
  drawMarks(context) {
    for (const {from, now, dragged} of this.pointers.values()) {
      if (!from || !dragged) continue;
      context.strokeStyle = colourOf("--text"); context.lineWidth = 2;
      context.beginPath(); context.moveTo(...this.toPixels(...this.project(from.z))); context.lineTo(...now); context.stroke();
    }
    for (const [name, code] of Object.entries(this.on.marks())) {
      const [left, top, farLeft, farTop] = this.markAt(code.z), beyond = left !== farLeft || top !== farTop;
      context.lineWidth = 2.5; context.strokeStyle = colourOf("--back"); context.fillStyle = colourOf("--text");
      if (name === "now") {
        for (const [colour, line] of [[colourOf("--back"), 5], [colourOf("--text"), 2]]) {
          context.strokeStyle = colour; context.lineWidth = line;
          context.beginPath(); context.arc(left, top, 8, 0, 7); context.stroke();
        }
        if (beyond) {  // a pointer to where it is
          const angle = Math.atan2(farTop - top, farLeft - left), tip = (turn, radius) => [left + radius * Math.cos(angle + turn), top + radius * Math.sin(angle + turn)];
          context.beginPath(); context.moveTo(...tip(0, 16)); context.lineTo(...tip(0.6, 10)); context.lineTo(...tip(-0.6, 10)); context.fill();
        }
      } else {
        context.font = "bold 15px system-ui, sans-serif"; context.textAlign = "center"; context.textBaseline = "middle";
        context.strokeText(name, left, top); context.fillText(name, left, top);
      }
    }
  }
}
