"use strict";
// The page: controls, and the code that they change.

const content = JSON.parse(document.getElementById("content").textContent);
const runs = content.runs, run = runs[0];
const by = (name) => document.getElementById(name);
const MOST_AXES = 12, FILM_STEPS = 48, MOST_FILE = 64 * 2 ** 20;
const pins = {};
let networks = null, codes = null, map = null, sliders = [], film = null;

for (const each of runs) {
  for (const field of each.fields || []) field.numbers_in_x = ["number", "whole", "date", "constant"].includes(field.kind) ? 1 + 2 * field.cycles.length : 0;
}

function say(text, isError = false) {
  by("message").textContent = text;
  by("message").classList.toggle("error", isError);
}

function seedCode(seed) {
  const all = floatsOf64(run.seeds), conditions = floatsOf64(run.seedConditions), count = all.length / run.size;
  const number = ((seed % count) + count) % count, width = conditions ? conditions.length / count : 0;
  return {z: all.slice(number * run.size, (number + 1) * run.size), condition: conditions && conditions.slice(number * width, (number + 1) * width), about: `sample of seed ${number}`, seed: number};
}

// Decode the newest code; those that came while the last one was being decoded are passed over.
let wanted = false, decoding = false;
async function refresh() {
  updateControls();
  wanted = true;
  if (decoding || !networks) return;
  decoding = true;
  try {
    while (wanted) {
      wanted = false;
      const {z, condition} = codes.now;
      for (const [number, each] of networks.entries()) {
        const x = await each.decode(z, condition);
        showRow(by("rows").children[number], runs[number], x, each);
        if (number === 0) document.body.dataset.decoded = String(1 + Number(document.body.dataset.decoded || 0));
      }
    }
  } catch (error) {
    say(`this could not be decoded: ${error.message}`, true);
  } finally {
    decoding = false;
  }
}

// What was said and asked of the code before has no meaning for the next one.
function goOn() { stopFilm(); say(""); by("question").hidden = true; }
function set(code) { goOn(); codes.set(code); refresh(); showNear(); showHistory(); }
function preview(z) { if (film) return; codes.preview = {...codes.kept, z, about: "under the pointer"}; refresh(); }

function updateControls() {
  const code = codes.now;
  by("about").textContent = code.about + (codes.preview ? "" : run.condition && run.conditionClasses.length ? `, condition ${run.conditionClasses[classOf(code)]}` : "");
  for (const slider of sliders) slider.update(code);
  for (const button of by("conditions").children) button.setAttribute("aria-pressed", String(Number(button.dataset.class) === classOf(code)));
  by("undo").disabled = codes.at === 0;
  by("redo").disabled = codes.at === codes.past.length - 1;
  by("film").disabled = !(pins.A && pins.B);
  by("kind").querySelector("[value=three]").disabled = !(pins.A && pins.B && pins.C);
  if (code.seed !== undefined) by("seed").value = code.seed;
  map.draw();
}

function newSlider(parent, name, detail, low, high, valueOf, codeAt) {
  const label = document.createElement("label"), text = document.createElement("span"), input = document.createElement("input"), output = document.createElement("output");
  label.className = "slider";
  text.textContent = name;
  if (detail) { const small = document.createElement("small"); small.textContent = detail; text.append(small); }
  Object.assign(input, {type: "range", min: low, max: high, step: (high - low) / 400});
  input.setAttribute("aria-label", name);
  let before = null;
  input.addEventListener("input", () => {
    stopFilm();
    before = before || codes.kept;
    codes.preview = {...before, z: codeAt(before.z, Number(input.value)), about: `${name} ${Number(input.value).toFixed(2)}`, seed: undefined};
    refresh();
  });
  input.addEventListener("change", () => { if (codes.preview) set(codes.preview); before = null; });
  label.append(text, input, output);
  parent.append(label);
  let shown = NaN;
  sliders.push({label, update: (code) => {
    const value = valueOf(code.z);
    if (document.activeElement !== input || !codes.preview) input.value = value;
    if (value === shown) return;  // most sliders stay as they are
    shown = value;
    output.textContent = value.toFixed(2);
  }});
}

function makeSliders() {
  by("axes-title").textContent = "dimensions, ranked by " + (run.axes.some((axis) => axis.measure === "kl") ? "KL divergence" : "the change they make");
  run.axes.forEach((axis) => {
    const detail = axis.measure === "kl" ? `${axis.score.toFixed(2)} nats` : axis.score.toPrecision(2);
    if (axis.discrete) {
      const label = document.createElement("label"), select = document.createElement("select"), text = document.createElement("span");
      label.className = "slider";
      text.textContent = axis.name;
      for (let i = 0; i < axis.width; i++) select.add(new Option(`class ${i}`, i));
      select.addEventListener("change", () => {
        const z = codes.kept.z.slice();
        for (let i = 0; i < axis.width; i++) z[axis.start + i] = Number(i === Number(select.value));
        set({...codes.kept, z, about: `${axis.name}: ${select.value}`, seed: undefined});
      });
      label.append(text, select);
      by("axes").append(label);
      sliders.push({label, update: (code) => {
        const part = code.z.subarray(axis.start, axis.start + axis.width);
        select.value = String(part.indexOf(Math.max(...part)));
      }});
      return;
    }
    newSlider(by("axes"), axis.name, detail, axis.low, axis.high, (z) => z[axis.start],
      (z, value) => { const made = z.slice(); made[axis.start] = value; return made; });
  });
  sliders.forEach((slider, number) => { slider.label.style.display = number >= MOST_AXES ? "none" : ""; });
  by("all-axes").hidden = sliders.length <= MOST_AXES;
  by("all-axes").textContent = `all ${run.axes.length} dimensions`;
  by("all-axes").onclick = () => { for (const slider of sliders) slider.label.style.display = ""; by("all-axes").hidden = true; };
  by("directions-title").hidden = !run.directions.length;
  for (const direction of run.directions) {
    const vector = floatsOf64(direction.vector), unit = combined([1 / length(vector), vector]);
    // The slider shows where the code lies along the direction, in standard deviations of codes.
    newSlider(by("directions"), direction.name, "", -4, 4, (z) => dot(z, unit) / direction.spread,
      (z, value) => combined([1, z], [value * direction.spread - dot(z, unit), unit]));
  }
}

function makeConditions() {
  run.conditionClasses.forEach((name, number) => {
    const button = document.createElement("button");
    button.textContent = name;
    button.dataset.class = number;
    button.onclick = () => set({...codes.kept, condition: Float32Array.from(run.conditionClasses, (_, i) => Number(i === number)), seed: undefined});
    by("conditions").append(button);
  });
}

function makePins() {
  for (const name of ["A", "B", "C"]) {
    const button = document.createElement("button");
    button.textContent = name;
    button.title = `keep this code as ${name} (${name.toLowerCase()}); again: go to it`;
    button.onclick = () => pins[name] && !sameCode(pins[name], codes.kept) && button.getAttribute("aria-pressed") === "true" ? set({...pins[name]}) : pin(name);
    button.oncontextmenu = (event) => { event.preventDefault(); pin(name); };
    button.id = `pin-${name}`;
    by("pins").append(button);
  }
}
function sameCode(one, other) { return one.z.every((value, i) => value === other.z[i]); }
function pin(name, code = codes.kept) {
  pins[name] = {...code, about: `${name}: ${code.about.replace(/^[ABC]: /, "")}`};
  by(`pin-${name}`).setAttribute("aria-pressed", "true");
  say(`${name} is ${pins[name].about.slice(3)}`);
  updateControls();
}

function stopFilm() { if (film) { clearInterval(film); film = null; by("film").textContent = "A \u2192 B film"; } }
function filmFrom(one, other) { codes.preview = null; pin("A", one); pin("B", other); stopFilm(); playFilm(); }
function playFilm() {
  if (film) { stopFilm(); return set({...codes.now, about: "a frame of the film", seed: undefined}); }
  if (!pins.A || !pins.B) return say("a film goes from A to B: keep two codes with these buttons first");
  let frame = 0;
  by("film").textContent = "stop";
  film = setInterval(() => {
    const turn = frame++ % (2 * FILM_STEPS), share = (turn < FILM_STEPS ? turn : 2 * FILM_STEPS - turn) / FILM_STEPS;
    const condition = pins.A.condition && combined([1 - share, pins.A.condition], [share, pins.B.condition]);
    codes.preview = {z: between(pins.A.z, pins.B.z, share, run.support), condition, about: `${Math.round(100 * share)} % of the way from A to B`};
    refresh();
  }, 50);
}

function codeButton(title, onclick, row) {
  const button = document.createElement("button");
  button.title = title;
  button.onclick = onclick;
  if (row !== undefined && map.hasThumbnail(row)) {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 44;
    map.thumbnail(canvas.getContext("2d"), row, 0, 0, 44);
    button.append(canvas);
  } else { button.textContent = title; button.className = "text"; }
  return button;
}
function showNear() {
  by("near-title").textContent = `nearest ${run.map.of} of the map, by code`;
  by("near").replaceChildren(...map.nearest(codes.kept.z, 10).map((row) =>
    codeButton(`${run.map.rows[row]}${map.labelOf(row)}`, () => map.chooseRow(row), row)));
}
function showHistory() {
  by("history").replaceChildren(...codes.past.map((code, number) =>
    codeButton(code.about, () => undo(number - codes.at))).reverse().slice(0, 40));
}

function makePlaneChoice() {
  const free = run.axes.filter((axis) => !axis.discrete);
  for (const name of ["first", "second"]) {
    for (const axis of free) by(name).add(new Option(axis.name, axis.start));
    by(name).onchange = choosePlane;
  }
  if (free.length < 2) by("kind").querySelector("[value=two]").disabled = true;
  else by("second").selectedIndex = 1;
  by("kind").onchange = choosePlane;
  by("whole").onclick = () => map.fit();
}
function choosePlane() {
  const kind = by("kind").value;
  by("two").hidden = kind !== "two";
  if (kind === "map") return map.setPlane(floatsOf64(run.map.origin), floatsOf64(run.map.across), floatsOf64(run.map.down));
  if (kind === "two") {
    const [one, other] = [Number(by("first").value), Number(by("second").value)];
    if (one === other) return say("a plane has two different dimensions", true);
    const origin = codes.kept.z.slice(), basis = (at) => { const made = new Float32Array(run.size); made[at] = 1; return made; };
    origin[one] = origin[other] = 0;
    return map.setPlane(origin, basis(one), basis(other));
  }
  const {A, B, C} = pins, first = combined([1, B.z], [-1, A.z]);
  const across = combined([1 / (length(first) || 1), first]), rest = combined([1, C.z], [-1, A.z]);
  const second = combined([1, rest], [-dot(rest, across), across]);
  if (length(first) < 1e-6 || length(second) < 1e-6) { say("A, B and C lie on one line, so they make no plane", true); return; }
  map.setPlane(A.z, across, combined([1 / length(second), second]));
}

function makeLegend() {
  if (!run.map.labels) return;
  const counts = run.classes.map((_, number) => run.map.labels.filter((label) => label === number).length);
  run.classes.forEach((name, number) => {
    if (!counts[number]) return;
    const label = document.createElement("label"), colour = document.createElement("i"), box = document.createElement("input");
    Object.assign(box, {type: "checkbox", checked: true});
    box.onchange = () => { if (box.checked) map.hidden.delete(number); else map.hidden.add(number); map.redraw(); };
    colour.style.background = COLOURS[number % COLOURS.length];
    label.append(box, colour, `${name} (${counts[number]})`);
    by("legend").append(label);
  });
}

async function copyCommand() {
  if (run.condition && !run.conditionClasses.length && run.fields) return say("a condition of columns has no short form in a command: save the code instead", true);
  const command = commandOf(run, codes.kept);
  by("copy").dataset.command = command;
  try {
    await navigator.clipboard.writeText(command);
    say("copied: a command that makes the same");
  } catch {  // no permission, or no clipboard on file://
    const area = document.createElement("textarea");
    area.value = command;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    say(copied ? "copied: a command that makes the same" : command);
  }
}

function save(name, bytes) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes]));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
function saveJson() {
  const {z, condition} = codes.kept;
  save("code.json", JSON.stringify({run: run.name, step: run.step, code: Array.from(z), condition: condition && Array.from(condition)}));
}
function saveSafetensors() {
  const {z, condition} = codes.kept, tensors = {code: {values: z, shape: run.latent}};
  if (condition) tensors.condition = {values: condition, shape: run.condition};
  save("code.safetensors", safetensorsOf(tensors));
}

async function openFile(file) {
  by("question").hidden = true;
  try {
    if (file.size > MOST_FILE) throw new Error(`it has ${Math.round(file.size / 2 ** 20)} MiB, and at most 64 are read`);
    if (/\.json$/i.test(file.name)) return useCode(parsed(await file.text(), "it is no JSON"), file.name);
    if (/\.safetensors$/i.test(file.name)) return useCode(tensorsOf(new Uint8Array(await file.arrayBuffer())), file.name);
    if (run.modality !== "image") throw new Error("files of this kind of data are not opened here, but codes (.json, .safetensors) are");
    await usePicture(await createImageBitmap(file).catch(() => { throw new Error("it is neither a picture that this browser reads nor a code"); }), file.name, false);
  } catch (error) {
    say(`${file.name}: ${error.message}`, true);
  }
}
function useCode(given, name) {
  const numbers = (values, count) => Array.isArray(values) && values.length === count && values.every(Number.isFinite);
  if (!given || !numbers(given.code, run.size)) throw new Error(`it has no code of ${run.size} numbers`);
  const width = run.condition ? run.condition.reduce((one, other) => one * other, 1) : 0;
  const condition = width && numbers(given.condition, width) ? Float32Array.from(given.condition) : codes.kept.condition;
  set({z: Float32Array.from(given.code), condition, about: name});
  say(`the code of ${name}`);
}
async function usePicture(bitmap, name, resize) {
  if (!networks) throw new Error("the networks are still being loaded");
  const [channels, height, width] = run.shape, {encode, invert} = networks[0];
  if (!encode && !invert) throw new Error(`this model has no encoder. Codes of pictures are found by:  ganvae explore ${run.path}  (without -o)`);
  if ((bitmap.width !== width || bitmap.height !== height) && !resize) {
    const button = document.createElement("button");
    button.textContent = `scale ${name} from ${bitmap.width} \u00d7 ${bitmap.height} to ${width} \u00d7 ${height}`;
    button.onclick = () => usePicture(bitmap, name, true).catch((error) => say(`${name}: ${error.message}`, true));
    ask(button);
    return say(`${name} has ${bitmap.width} \u00d7 ${bitmap.height} pixels, and the model takes ${width} \u00d7 ${height}`);
  }
  const canvas = document.createElement("canvas");
  Object.assign(canvas, {width, height});
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0, width, height);
  const pixels = context.getImageData(0, 0, width, height).data, area = width * height;
  const [low, high] = run.range || [0, 1], x = new Float32Array(channels * area);
  for (let place = 0; place < area; place++) {
    const part = (channel) => pixels[4 * place + channel];
    for (let channel = 0; channel < channels; channel++) {
      const value = channels === 1 ? Math.round(0.299 * part(0) + 0.587 * part(1) + 0.114 * part(2)) : part(channel);
      x[channel * area + place] = low + (high - low) * value / 255;
    }
  }
  if (!encode) say("looking for its code");
  const z = await (encode || invert)(x, codes.kept.condition);
  set({z: Float32Array.from(z), condition: codes.kept.condition, about: name});
  say(encode ? `${name}, encoded` : `${name}: the code that was found`);
  if (encode && invert) {
    const button = document.createElement("button");
    button.textContent = "find a better code by optimisation";
    button.onclick = async () => {
      say("looking for a better code");
      try {
        set({z: await invert(x, codes.kept.condition), condition: codes.kept.condition, about: `${name}, optimised`});
        say("found");
      } catch (error) { say(`${name}: ${error.message}`, true); }
    };
    ask(button);
  }
}
function ask(button) { by("question").replaceChildren(button); by("question").hidden = false; }

function changeSeed(step) { set(seedCode(Math.round(Number(by("seed").value) || 0) + step)); }
function undo(step) { goOn(); codes.step(step); refresh(); showNear(); }
function nudge(right, up) {
  const step = map.span / 40, z = combined([1, codes.kept.z], [right * step, map.across], [up * step, map.up]);
  set({...codes.kept, z, about: "moved on the plane", seed: undefined});
}
function pressKey(event) {
  if (event.target.matches("input, select, textarea") || event.altKey) return;
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key === "z") { event.preventDefault(); undo(event.shiftKey ? 1 : -1); }
    return;
  }
  const moves = {arrowleft: [-1, 0], arrowright: [1, 0], arrowup: [0, 1], arrowdown: [0, -1]};
  if (moves[key] && document.activeElement === map.canvas) { event.preventDefault(); nudge(...moves[key]); }
  else if (key === "n") changeSeed(1);
  else if (key === "p") changeSeed(-1);
  else if (key === " " && !event.target.matches("button, summary")) { event.preventDefault(); playFilm(); }
  else if (["a", "b", "c"].includes(key)) pin(key.toUpperCase());
}

async function start() {
  by("title").textContent = runs.map((each) => `${each.name} (${each.plugin}, step ${each.step.toLocaleString("en")})`).join(" \u00b7 ");
  for (const each of runs) {
    const figure = document.createElement("figure");
    if (runs.length > 1) { const caption = document.createElement("figcaption"); caption.textContent = each.name; figure.append(caption); }
    by("rows").append(figure);
  }
  codes = new Codes(seedCode(0));
  map = new PlaneMap(by("map"), run, {
    preview, leave: () => { if (!film && codes.preview) { codes.preview = null; refresh(); } }, choose: set, film: filmFrom,
    current: () => codes.kept, marks: () => codes ? {...pins, now: film ? codes.now : codes.kept} : {},
  });
  if (map.sheet) await map.sheet.decode();
  makeSliders(); makeConditions(); makePins(); makePlaneChoice(); makeLegend();
  by("earlier-seed").onclick = () => changeSeed(-1);
  by("later-seed").onclick = () => changeSeed(1);
  by("seed").onchange = () => changeSeed(0);
  by("undo").onclick = () => undo(-1);
  by("redo").onclick = () => undo(1);
  by("film").onclick = playFilm;
  by("copy").onclick = copyCommand;
  by("save-json").onclick = saveJson;
  by("save-safetensors").onclick = saveSafetensors;
  by("file").onchange = () => { if (by("file").files[0]) openFile(by("file").files[0]); by("file").value = ""; };
  addEventListener("keydown", pressKey);
  addEventListener("click", (event) => { if (event.detail) event.target.closest("button")?.blur(); });  // space is the film's after a click
  addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
  addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    if (event.dataTransfer.files[0]) openFile(event.dataTransfer.files[0]);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { themeColours.clear(); map.redraw(); refresh(); });
  showNear(); showHistory(); updateControls();
  networks = await startNetworks(content);
  say(`${run.map.rows.length.toLocaleString("en")} ${run.map.of} on the map: point at it, click to keep a code`);
  await refresh();
  document.body.dataset.ready = "true";
}
start().catch((error) => say(`the page could not start: ${error.message}`, true));
