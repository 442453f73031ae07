"use strict";
// Rows of data as a person looks at them: a picture, a card of a table's columns, points, or lines.

const COLOURS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"];

// A variable of the style sheet; to ask for it makes a browser lay out the page, so it is kept until the theme changes.
const themeColours = new Map();
function colourOf(variable) {
  if (!themeColours.has(variable)) themeColours.set(variable, getComputedStyle(document.documentElement).getPropertyValue(variable).trim());
  return themeColours.get(variable);
}

// Draw x, in the model's range, into an element that is used again.
function showRow(element, run, x, networks) {
  if (run.modality === "image" && run.shape.length === 3) return showPicture(canvasIn(element), run, x);
  if (run.fields && run.fields.length) return showCard(element, run, x);
  if (run.modality === "points" && x.length === 2) return showPoint(canvasIn(element), run, x);
  if (run.sound) playButtonIn(element, run, x, networks);
  if (run.sound === "mel") return showSpectrogram(canvasIn(element), run, x);
  return showLines(canvasIn(element), run, x);
}

function playButtonIn(element, run, x, networks) {
  let button = element.querySelector("button");
  if (!button) { button = document.createElement("button"); button.textContent = "play"; element.append(button); }
  button.onclick = () => play(run, x, networks).catch((error) => say(`this could not be played: ${error.message}`, true));
}

let audio = null;
async function play(run, x, networks) {
  audio = audio || new AudioContext();
  const source = audio.createBufferSource();
  source.buffer = run.sound === "mel" ? await soundOfSpectrogram(run, x, networks) : soundOfWave(run, x);
  source.connect(audio.destination);
  source.start();
}
function soundOfWave(run, x) {  // one channel, in [-1, 1]
  const buffer = audio.createBuffer(1, x.length, run.rate);
  buffer.copyToChannel(Float32Array.from(x, (value) => Math.min(1, Math.max(-1, value))), 0);
  return buffer;
}
async function soundOfSpectrogram(run, x, networks) {
  if (!networks.sound) throw new Error(`the phases of a spectrogram are found by the server:  ganvae explore ${run.path}  (without -o)`);
  return audio.decodeAudioData(await networks.sound(x));
}

function canvasIn(element) {
  let canvas = element.querySelector("canvas");
  if (!canvas) { canvas = document.createElement("canvas"); element.prepend(canvas); }
  return canvas;
}

function rangeOf(run, x) {
  if (run.range) return run.range;
  let low = Infinity, high = -Infinity;
  for (const value of x) { if (value < low) low = value; if (value > high) high = value; }
  return [low, high > low ? high : low + 1];
}

function showPicture(canvas, run, x) {
  const [channels, height, width] = run.shape, area = width * height, [low, high] = rangeOf(run, x);
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  canvas.classList.toggle("pixels", Math.max(width, height) < 128);
  const picture = new ImageData(width, height);
  for (let place = 0; place < area; place++) {
    for (let part = 0; part < 4; part++) {
      const channel = channels === 1 ? 0 : part;
      const value = part === 3 && channels < 4 ? 255 : channel >= channels ? 0 : Math.round(255 * (x[channel * area + place] - low) / (high - low));
      picture.data[4 * place + part] = value;  // clamped by its type
    }
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

const HEAT = [[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]];
function showSpectrogram(canvas, run, x) {  // (bands, frames), low bands at the bottom
  const [bands, frames] = run.shape, [low, high] = rangeOf(run, x);
  canvas.width = frames; canvas.height = bands;
  canvas.classList.add("wide");
  const picture = new ImageData(frames, bands);
  for (let band = 0; band < bands; band++) {
    for (let frame = 0; frame < frames; frame++) {
      const heat = Math.min(1, Math.max(0, (x[band * frames + frame] - low) / (high - low))) * (HEAT.length - 1), step = Math.min(Math.floor(heat), HEAT.length - 2);
      const at = 4 * ((bands - 1 - band) * frames + frame);
      for (let part = 0; part < 3; part++) picture.data[at + part] = HEAT[step][part] + (heat - step) * (HEAT[step + 1][part] - HEAT[step][part]);
      picture.data[at + 3] = 255;
    }
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
}

function inUnits(run, x, place) {
  const pick = (values) => values.length > 1 ? values[place] : values[0];
  return x * pick(run.scale) + pick(run.offset);
}

function rounded(value) { return Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(4))); }

// The value of a field in x (see Field of the core) as text and as a number, and the share that its choice has. It equals rows_of_fields of the core.
function cellOf(run, field, x) {
  const numbers = field.numbers_in_x, choices = Array.from(x.subarray(field.start + numbers, field.start + field.width));
  const missing = (share) => ({text: "missing", value: NaN, share, isMissing: true}), number = (value, share) => ({text: textOf(field, value), value, share});
  let best = 0;
  choices.forEach((share, place) => { if (share > choices[best]) best = place; });
  if (field.missing && best === choices.length - 1) return missing(choices[best]);
  if (numbers === 0) {
    const last = choices.length - 1 - (field.missing ? 1 : 0), rare = field.categories.length - last;
    if (best === last && rare > 1) return {text: `one of ${rare} rare values`, value: NaN, share: choices[best]};
    return {text: field.categories[best], value: best, share: choices[best]};
  }
  const ordinary = choices.length ? field.modes.length : 0;
  if (choices.length && best >= ordinary) return number(field.spikes[best - ordinary], choices[best]);
  if (!run.encoded) {
    const value = inUnits(run, x[field.start], field.start);
    return number(field.kind === "whole" ? Math.round(value) : value, null);
  }
  if (field.kind === "constant") return number(field.knots[0][0], null);
  // A number of a mean is that of ordinary cells times their probability.
  const there = choices.length ? Math.min(Math.max(choices.slice(0, ordinary).reduce((sum, share) => sum + share, 0), 1 / choices.length), 1) : 1;
  const [mean, scale] = field.modes[ordinary ? best : 0], at = x[field.start] / there * scale + mean, knots = field.knots;
  let right = 1;
  while (right < knots.length - 1 && knots[right][1] < at) right++;
  const [low, high] = [knots[right - 1], knots[right]];
  let value = low[0] + (at - low[1]) / (high[1] - low[1] || 1) * (high[0] - low[0]);
  field.cycles.forEach((period, cycle) => { value = onCycle(value, period, x[field.start + 1 + 2 * cycle], x[field.start + 2 + 2 * cycle]); });
  if (field.step) value = Math.round(value / field.step) * field.step;
  if (field.bounds) value = Math.min(Math.max(value, field.bounds[0]), field.bounds[1]);
  return number(value, null);
}

const DAY = 86400;
function modulo(value, period) { return value - period * Math.floor(value / period); }
// The time nearest to a value (seconds) at the place in the week, or at the time of day, that sine and cosine give.
function onCycle(value, period, sine, cosine) {
  const place = Math.atan2(sine, cosine) / (2 * Math.PI) * period, day = Math.floor(value / DAY);
  if (period <= DAY) return DAY * day + modulo(place, period);
  const days = period / DAY;
  return DAY * (day + modulo(Math.round(place / DAY) - day + days / 2, days) - days / 2);
}

function textOf(field, value) {
  if (field.kind !== "date") return rounded(value);
  const text = new Date(1000 * value).toISOString();
  return field.step % DAY === 0 && field.step ? text.slice(0, 10) : text.slice(0, 19).replace("T", " ");
}

function showCard(element, run, x) {
  let table = element.querySelector("table");
  if (!table) {
    table = document.createElement("table");
    for (const field of run.fields) {
      const line = table.insertRow();
      line.insertCell().textContent = field.name;
      line.insertCell();
      line.insertCell().className = "share";
      line.cells[2].append(document.createElement("canvas"));
    }
    element.prepend(table);
    if (run.shown === "draw") {
      const note = document.createElement("p");
      note.className = "quiet";
      note.textContent = "the mean at this code; ganvae sample draws rows around it";
      table.after(note);
    }
  }
  const {clientWidth, clientHeight} = table.querySelector("canvas"), size = [clientWidth, clientHeight];
  run.fields.forEach((field, number) => {
    const {text, value, share, isMissing} = cellOf(run, field, x), line = table.rows[number];
    line.cells[1].textContent = share === null ? text : `${text} (${Math.round(100 * share)} %)`;
    showMarginal(line.cells[2].firstChild, size, run.marginals[number], value, Boolean(isMissing));
  });
}

// How often values of the column are in the data; the bar of the value that is shown is marked. The last bar, after a gap, is of missing cells.
function showMarginal(canvas, [shownWidth, shownHeight], {low, high, counts, missing}, value, isMissing) {
  const ratio = window.devicePixelRatio || 1, bars = missing || isMissing ? [...counts, missing] : counts, most = Math.max(...bars, 1);
  const width = canvas.width = Math.round((shownWidth || 6 * bars.length) * ratio), height = canvas.height = Math.round((shownHeight || 20) * ratio);
  const context = canvas.getContext("2d"), places = bars.length + (bars === counts ? 0 : 1), edge = (place) => Math.round(width * place / places);
  const here = isMissing ? counts.length : Number.isNaN(value) ? -1 : Math.min(counts.length - 1, Math.max(0, Math.floor((value - low) / (high - low || 1) * counts.length)));
  bars.forEach((count, bin) => {
    const place = bin === counts.length ? bin + 1 : bin, left = edge(place), gap = Math.min(Math.round(ratio), edge(place + 1) - left - 1);
    const bar = Math.round(Math.max((bin === here ? 3 : Math.min(count, 1)) * ratio, height * count / most));
    context.fillStyle = colourOf(bin === here ? "--strong" : "--quiet");
    context.fillRect(left, height - bar, edge(place + 1) - left - Math.max(gap, 0), bar);
  });
}

function showPoint(canvas, run, x) {
  const size = canvas.width = canvas.height = 480, context = canvas.getContext("2d");
  run.trail = [...(run.trail || []).slice(-200), [inUnits(run, x[0], 0), inUnits(run, x[1], 1)]];
  const spread = Math.max(...run.trail.flat().map(Math.abs), 1e-9) * 1.1;
  run.trail.forEach(([across, up], number) => {
    context.globalAlpha = number === run.trail.length - 1 ? 1 : 0.25;
    context.fillStyle = colourOf("--strong");
    context.beginPath();
    context.arc(size * (0.5 + across / spread / 2), size * (0.5 - up / spread / 2), number === run.trail.length - 1 ? 8 : 4, 0, 7);
    context.fill();
  });
}

// (length,), (channels, length) or (length, columns) of a series: a line each.
function showLines(canvas, run, x) {
  const width = canvas.width = 640, height = canvas.height = 320, context = canvas.getContext("2d");
  const last = run.shape.length > 1 ? run.shape[run.shape.length - 1] : 1;
  const columns = run.modality === "series" ? last : 1, length = run.modality === "series" || run.shape.length < 2 ? x.length / columns : last;
  const lines = x.length / length, [low, high] = rangeOf({range: null}, x);
  for (let line = 0; line < lines; line++) {
    context.strokeStyle = COLOURS[line % COLOURS.length];
    context.lineWidth = 2;
    context.beginPath();
    for (let i = 0; i < length; i++) {
      const value = columns > 1 ? x[i * columns + line] : x[line * length + i];
      context.lineTo(8 + (width - 16) * i / Math.max(1, length - 1), height - 8 - (height - 16) * (value - low) / (high - low));
    }
    context.stroke();
  }
}
