"use strict";
// What the networks of a run make: decode(z, condition), encode(x, condition) and invert(x, condition), each a promise
// of float32 numbers, and sound(x), one of a .wav file, by ONNX Runtime Web within the page or by the server. A function that a run lacks is null.

async function startNetworks(content) {
  return content.server ? content.runs.map(networksOfServer) : networksOfPage(content.runs);
}

async function networksOfPage(runs) {
  const address = async (name, type) => URL.createObjectURL(new Blob([await unpacked(name)], {type}));
  const ort = await import(await address("runtime", "text/javascript"));
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = {mjs: await address("glue", "text/javascript"), wasm: await address("wasm", "application/wasm")};
  const made = [];
  for (const [number, run] of runs.entries()) {
    const decoder = await session(ort, `generator-${number}`), encoder = await session(ort, `encoder-${number}`);
    made.push({
      decode: (z, condition) => compute(ort, decoder, z, run.latent, condition, run.condition),
      encode: encoder && ((x, condition) => compute(ort, encoder, x, run.shape, condition, run.condition)),
      invert: null, sound: null,
    });
  }
  return made;
}

async function session(ort, name) {
  const model = unshuffled(await unpacked(name));
  return model && ort.InferenceSession.create(model, {executionProviders: ["wasm"], logSeverityLevel: 3});
}

async function compute(ort, network, values, shape, condition, conditionShape) {
  const size = shape.reduce((one, other) => one * other, 1), count = values.length / size;
  const given = {[network.inputNames[0]]: new ort.Tensor("float32", values, [count, ...shape])};
  if (network.inputNames.length > 1) given[network.inputNames[1]] = new ort.Tensor("float32", condition, [count, ...conditionShape]);
  const made = await network.run(given);
  return made[network.outputNames[0]].data;
}

function networksOfServer(run, number) {
  const token = new URLSearchParams(location.search).get("token");
  const ask = async (what, values, condition) => {
    const body = JSON.stringify({values: Array.from(values), condition: condition && Array.from(condition)});
    const answer = await fetch(`${what}/${number}`, {method: "POST", body, headers: {"X-Token": token}})
      .catch(() => { throw new Error("the server does not answer; start ganvae explore again"); });
    if (!answer.ok) throw new Error(await answer.text());
    return answer.arrayBuffer();
  };
  const numbers = (what) => async (values, condition) => new Float32Array(await ask(what, values, condition));
  return {decode: numbers("decode"), encode: run.encoder ? numbers("encode") : null, invert: numbers("invert"), sound: run.sound ? (x) => ask("sound", x) : null};
}
