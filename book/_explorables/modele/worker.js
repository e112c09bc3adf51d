// Le modèle, dans un fil à lui : la page reste fluide pendant que les couches se calculent.
//
// La page envoie {call, type, …} et reçoit {call, progress}, {call, result} ou {call, error}. Elle
// demande les tokens un à un, avec un d’avance : cesser de demander arrête l’écriture.

import { ModelError, download, readManifest } from "./download.js";
import { draw, mostProbable, probabilities, seeded, softmax } from "./sampling.js";

const SHOWN = 8; // concurrents rendus avec chaque token
let ort, manifest, base, weights, decoder, attention;
let cache = { ids: [] }; // ce que le décodeur a lu, et ses clés et valeurs
let run = { number: 0 }; // l’écriture en cours

const ACTIONS = { load, start, next, attention: attend };

self.onmessage = async ({ data }) => {
  const { call, type } = data;
  try {
    const result = await ACTIONS[type](data, (progress) => self.postMessage({ call, progress }));
    self.postMessage({ call, result }, result?.data ? [result.data.buffer] : []);
  } catch (error) {
    const { code, message } = explain(error);
    self.postMessage({ call, error: { code, message } });
  }
};

// Charger

async function load({ modelUrl, engineUrl }, report) {
  base = modelUrl;
  manifest = await readManifest(`${base}manifeste.json`);
  const engine = await readManifest(`${engineUrl}manifeste.json`).catch((error) => {
    throw error.code === "manquant"
      ? new ModelError("moteur", "onnxruntime-web, qui exécute le modèle, n’a pas été construit avec le livre : il faut Node.js et npm.")
      : error;
  });
  const program = "ort-wasm-simd-threaded.wasm";
  const names = ["graphe.onnx", ...manifest.eclats];
  const total = names.reduce((sum, name) => sum + manifest.fichiers[name].octets, engine.fichiers[program].octets);
  let loaded = 0;
  const count = (size) => report({ stage: "telechargement", loaded: (loaded += size), total });

  const fetching = [
    download(engineUrl + program, engine.fichiers[program], count),
    download(`${base}graphe.onnx`, manifest.fichiers["graphe.onnx"], count),
    readWeights(count),
  ];
  const [wasm, graph] = await Promise.all(fetching);
  report({ stage: "preparation", loaded: total, total });
  ort = await import(`${engineUrl}ort.wasm.min.mjs`);
  Object.assign(ort.env.wasm, { numThreads: 1, wasmPaths: engineUrl, wasmBinary: wasm });
  decoder = await open(graph);
  return { ...manifest, moteur: engine.version };
}

// Les éclats, chacun converti à sa place dès son arrivée : bf16 → float32 sur n nombres.
async function readWeights(count) {
  weights = new Float32Array(manifest.nombre);
  const bits = new Uint32Array(weights.buffer);
  const size = manifest.type === "BF16" ? 2 : 4;
  let offset = 0;
  await Promise.all(
    manifest.eclats.map(async (name) => {
      const place = offset / size;
      offset += manifest.fichiers[name].octets; // avant le premier await : dans l’ordre
      const bytes = await download(base + name, manifest.fichiers[name], count);
      if (size === 4) return bits.set(new Uint32Array(bytes.buffer), place);
      const halves = new Uint16Array(bytes.buffer);
      for (let i = 0; i < halves.length; i++) bits[place + i] = halves[i] << 16; // la mantisse finit par 16 zéros
    }),
  );
}

const open = (graph) =>
  ort.InferenceSession.create(graph, {
    executionProviders: ["wasm"],
    externalData: [{ path: "poids.bin", data: new Uint8Array(weights.buffer) }],
    logSeverityLevel: 3,
  });

// Écrire

function start({ ids, sampling, seed }) {
  run = { number: run.number + 1, ids: [...ids], sampling, random: seeded(seed) };
  return { run: run.number };
}

// Un token : {id, probability, sampled, top: [[numéro, probabilité, après réglages], …]}
async function next({ run: number }) {
  if (number !== run.number) throw new ModelError("perime", "Une autre écriture a commencé.");
  const current = run;
  const logits = await read(current.ids);
  const law = softmax(logits);
  const chosen = probabilities(logits, { ...current.sampling, seen: current.ids });
  const id = draw(chosen, current.random);
  current.ids.push(id);
  const top = mostProbable(law, SHOWN).map(([other, p]) => [other, p, chosen[other]]);
  return { id, probability: law[id], sampled: chosen[id], top };
}

// Les logits (V,) du token qui suit ids ; ce que le cache a déjà lu n’est pas relu.
async function read(ids) {
  const known = cache.ids.length;
  const follows = known > 0 && known <= ids.length && cache.ids.every((id, i) => id === ids[i]);
  if (follows && known === ids.length) return cache.logits;
  const past = follows ? cache.past : empty();
  cache = { ids: [] }; // une panne en route ne doit pas laisser un cache faux
  const out = await decoder.run({ tokens: tokens(follows ? ids.slice(known) : ids), ...past });
  const present = Object.keys(past).map((name) => [name, out[name.slice("past_".length)]]);
  cache = { ids: [...ids], past: Object.fromEntries(present), logits: out.logits.data };
  return cache.logits;
}

function empty() {
  const dims = [1, manifest.tetes_kv, 0, manifest.taille_tete];
  const names = decoder.inputNames.filter((name) => name.startsWith("past_"));
  return Object.fromEntries(names.map((name) => [name, new ort.Tensor("float32", [], dims)]));
}

const tokens = (ids) => new ort.Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]);

// Les probabilités d’attention de chaque tête : (L, H, T, T)

async function attend({ ids }) {
  if (!attention) {
    const graph = await download(`${base}attention.onnx`, manifest.fichiers["attention.onnx"]);
    attention = await open(graph);
  }
  const out = await attention.run({ tokens: tokens(ids) });
  const [layers, heads, length] = out.attention.dims;
  return { layers, heads, length, data: Float32Array.from(out.attention.data) };
}

// Dire la panne en français

function explain(error) {
  if (error instanceof ModelError) return error;
  const text = String(error?.message ?? error);
  if (error instanceof RangeError && !/allocation|length/i.test(text)) return { code: "reglage", message: text };
  if (/alloc|memory|out of bounds/i.test(text))
    return { code: "memoire", message: "La mémoire manque : fermez d’autres onglets, puis recommencez." };
  if (/WebAssembly|SIMD|wasm/i.test(text))
    return { code: "wasm", message: `Ce navigateur ne sait pas exécuter le moteur du modèle (${text}).` };
  return { code: "moteur", message: `Le moteur du modèle s’est arrêté : ${text}` };
}
