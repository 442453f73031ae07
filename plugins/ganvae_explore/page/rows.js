"use strict";
// Rows of data as a person looks at them: a picture, a card of a table's columns, points, or lines.

const COLOURS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf"];

function colourOf(variable) { return getComputedStyle(document.documentElement).getPropertyValue(variable).trim(); }

// Draw x, in the model's range, into an element that is used again.
function showRow(element, run, x) {
  if (run.modality === "image" && run.shape.length === 3) return showPicture(canvasIn(element), run, x);
  if (run.fields && run.fields.length) return showCard(element, run, x);
  if (run.modality === "points" && x.length === 2) return showPoint(canvasIn(element), run, x);
  return showLines(canvasIn(element), run, x);
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

function inUnits(run, x, place) {
  const pick = (values) => values.length > 1 ? values[place] : values[0];
  return x * pick(run.scale) + pick(run.offset);
}

function rounded(value) { return Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(4))); }

// The value of a field in x (see Field of the core), and the share that its choice has.
function cellOf(run, field, x) {
  const numbers = field.numbers_in_x, choices = Array.from(x.subarray(field.start + numbers, field.start + field.width));
  let best = 0;
  choices.forEach((share, number) => { if (share > choices[best]) best = number; });
  if (numbers === 0) return {value: field.missing && best === choices.length - 1 ? "missing" : field.categories[best], share: choices[best]};
  const ordinary = choices.length ? field.modes.length : 0;
  if (choices.length && best >= ordinary) {
    return {value: best - ordinary < field.spikes.length ? rounded(field.spikes[best - ordinary]) : "missing", share: choices[best]};
  }
  if (!run.encoded) {
    const value = inUnits(run, x[field.start], field.start);
    return {value: rounded(field.kind === "whole" ? Math.round(value) : value), share: null};
  }
  if (field.kind === "constant") return {value: rounded(field.knots[0][0]), share: null};
  const [mean, scale] = field.modes[ordinary ? best : 0], at = x[field.start] * scale + mean, knots = field.knots;
  let right = 1;
  while (right < knots.length - 1 && knots[right][1] < at) right++;
  const [low, high] = [knots[right - 1], knots[right]];
  let value = low[0] + (at - low[1]) / (high[1] - low[1] || 1) * (high[0] - low[0]);
  if (field.bounds) value = Math.min(Math.max(value, field.bounds[0]), field.bounds[1]);
  if (field.step) value = Math.round(value / field.step) * field.step;
  if (field.kind === "date") return {value: new Date(1000 * value).toISOString().slice(0, 10), share: null};
  const span = field.bounds ? (value - field.bounds[0]) / (field.bounds[1] - field.bounds[0] || 1) : null;
  return {value: rounded(value), share: span};
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
      line.cells[2].append(document.createElement("i"));
    }
    element.prepend(table);
  }
  run.fields.forEach((field, number) => {
    const {value, share} = cellOf(run, field, x), line = table.rows[number];
    line.cells[1].textContent = value;
    line.cells[2].firstChild.style.width = share === null ? "0" : `${Math.round(100 * Math.min(Math.max(share, 0), 1))}%`;
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
