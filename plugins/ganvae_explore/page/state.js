"use strict";
// The code that is shown, what it was before, and the words of a command that shows the same.

class Codes {
  constructor(first) { this.past = [first]; this.at = 0; this.preview = null; }
  get now() { return this.preview || this.past[this.at]; }
  get kept() { return this.past[this.at]; }
  set(code) {
    this.preview = null;
    this.past.splice(this.at + 1);
    this.past.push(code);
    if (this.past.length > 200) this.past.shift();
    this.at = this.past.length - 1;
  }
  step(by) {
    this.preview = null;
    this.at = Math.min(Math.max(this.at + by, 0), this.past.length - 1);
  }
}

function quoted(text) { return /^[\w.\/:+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`; }

function commandOf(run, code) {
  const numbers = Array.from(code.z, (value) => Number(value.toPrecision(7))).join(",");
  const ending = run.modality === "image" || run.modality === "points" ? "picture.png" : run.fields ? "row.csv" : "row.npz";
  let condition = "";
  if (run.condition) {
    const chosen = run.conditionClasses.length ? run.conditionClasses[classOf(code)] : Array.from(code.condition).join(",");
    condition = ` --condition=${quoted(chosen)}`;
  }
  return `ganvae edit ${quoted(run.path)} --code=${numbers}${condition} -o ${ending}`;
}

function classOf(code) { return code.condition ? code.condition.indexOf(Math.max(...code.condition)) : -1; }

function dot(one, other) { let sum = 0; for (let i = 0; i < one.length; i++) sum += one[i] * other[i]; return sum; }
function length(one) { return Math.sqrt(dot(one, one)); }
function combined(...terms) {  // [number, vector] pairs
  const made = new Float32Array(terms[0][1].length);
  for (const [factor, vector] of terms) for (let i = 0; i < made.length; i++) made[i] += factor * vector[i];
  return made;
}

// A code between two: on the great circle where codes are real, on the straight line otherwise.
function between(one, other, share, support) {
  const lengths = [length(one), length(other)];
  const cosine = lengths[0] * lengths[1] > 0 ? Math.min(1, Math.max(-1, dot(one, other) / lengths[0] / lengths[1])) : 1;
  const angle = Math.acos(cosine), sine = Math.sin(angle);
  if (one.length < 2 || sine < 1e-4 || !["real", "sphere"].includes(support)) return combined([1 - share, one], [share, other]);
  const size = lengths[0] + share * (lengths[1] - lengths[0]);
  return combined([Math.sin((1 - share) * angle) / sine * size / lengths[0], one], [Math.sin(share * angle) / sine * size / lengths[1], other]);
}
