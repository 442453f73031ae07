"use strict";
// Bytes and numbers: what the page holds as text, and safetensors files.

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";

// Base 85, five characters for four bytes.
function bytesOf85(text) {
  const values = new Uint8Array(128);
  for (let i = 0; i < 85; i++) values[DIGITS.charCodeAt(i)] = i;
  const made = new Uint8Array(text.length / 5 * 4), view = new DataView(made.buffer);
  for (let i = 0, at = 0; i < text.length; i += 5, at += 4) {
    let value = 0;
    for (let j = 0; j < 5; j++) value = value * 85 + values[text.charCodeAt(i + j)];
    view.setUint32(at, value);
  }
  return made;
}

// The bytes of a script element: a zlib stream in base 85, with zeros up to a multiple of four.
async function unpacked(name) {
  const element = document.getElementById(name);
  if (!element) return null;
  const packed = bytesOf85(element.textContent).subarray(0, Number(element.dataset.length));
  element.remove();
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// Numbers whose first bytes come first, then all second ones, and so on, after the length.
function unshuffled(bytes) {
  if (!bytes) return null;
  const length = new DataView(bytes.buffer).getUint32(0, true), many = (bytes.length - 4) / 4;
  const made = new Uint8Array(4 * many);
  for (let plane = 0; plane < 4; plane++) {
    const start = 4 + plane * many;
    for (let i = 0; i < many; i++) made[4 * i + plane] = bytes[start + i];
  }
  return made.subarray(0, length);
}

function floatsOf64(text) {
  if (text === null || text === undefined) return null;
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new Float32Array(bytes.buffer);
}

function safetensorsOf(tensors) {
  const header = {};
  let at = 0;
  for (const [name, {values, shape}] of Object.entries(tensors)) {
    header[name] = {dtype: "F32", shape, data_offsets: [at, at += 4 * values.length]};
  }
  let text = JSON.stringify(header);
  text += " ".repeat((8 - text.length % 8) % 8);
  const made = new Uint8Array(8 + text.length + at), view = new DataView(made.buffer);
  view.setUint32(0, text.length, true);
  made.set(new TextEncoder().encode(text), 8);
  let place = 8 + text.length;
  for (const {values} of Object.values(tensors)) {
    for (const value of values) { view.setFloat32(place, value, true); place += 4; }
  }
  return made;
}

function parsed(text, otherwise) {
  try { return JSON.parse(text); } catch { throw new Error(otherwise); }
}

// The code and the condition of a safetensors file, where they are there.
function tensorsOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 8 || view.getUint32(4, true) || view.getUint32(0, true) > bytes.length - 8) throw new Error("it is no safetensors file");
  const length = view.getUint32(0, true), made = {};
  const header = parsed(new TextDecoder().decode(bytes.subarray(8, 8 + length)), "it is no safetensors file");
  for (const name of ["code", "condition"]) {
    if (!Object.hasOwn(header, name)) continue;
    const {dtype, data_offsets: offsets} = header[name];
    if (dtype !== "F32" || !Array.isArray(offsets) || !offsets.every(Number.isInteger) || !(offsets[0] >= 0) || !(8 + length + offsets[1] <= bytes.length)) throw new Error("it has no tensor of float32");
    const values = [];
    for (let at = offsets[0]; at + 4 <= offsets[1]; at += 4) values.push(view.getFloat32(8 + length + at, true));
    made[name] = values;
  }
  return made;
}
