// Des logits au token, dans le navigateur : les mêmes lois que llmbook.generation_sampling.
//
//   const p = probabilities(logits, { temperature: 0.8, topP: 0.9, seen: ids });
//   const id = draw(p, seeded(7));
//
// L’ordre est celui de transformers : pénalité de répétition, température, top-k, top-p, min-p,
// typique. Un réglage nul (null) est absent ; une température nulle demande le glouton.

const OFF = -Infinity;

// logits : (V,) ; seen : les tokens déjà là, prompt compris. Renvoie la loi du token suivant, (V,).
export function probabilities(logits, settings = {}) {
  const { temperature = 1, topK, topP, minP, typicalP, repetitionPenalty = 1, seen = [] } = settings;
  check(settings);
  const x = Float32Array.from(logits); // chaque écriture arrondit en float32, comme torch
  if (repetitionPenalty !== 1)
    for (const id of new Set(seen)) x[id] = x[id] < 0 ? x[id] * repetitionPenalty : x[id] / repetitionPenalty;
  if (temperature == null) return new Float32Array(x.length).fill(1, argmax(x), argmax(x) + 1);
  if (temperature !== 1) for (let i = 0; i < x.length; i++) x[i] /= temperature;
  if (topK != null) keepTop(x, topK);
  if (topP != null && topP < 1) keepNucleus(x, topP);
  if (minP != null) keepAbove(x, minP);
  if (typicalP != null && typicalP < 1) keepTypical(x, typicalP);
  return softmax(x);
}

// Un numéro tiré de la loi ; random : une fonction qui rend un nombre de [0, 1[.
export function draw(p, random) {
  let left = random();
  let last = 0;
  for (let i = 0; i < p.length; i++) {
    if (p[i] === 0) continue;
    last = i; // l’arrondi peut laisser un reste : le dernier token possible le prend
    left -= p[i];
    if (left < 0) return i;
  }
  return last;
}

// Un générateur reproductible (mulberry32, T. Ettinger, domaine public) : entier -> () => [0, 1[.
export function seeded(seed) {
  let state = Math.trunc(seed) | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export function argmax(x) {
  let best = 0;
  for (let i = 1; i < x.length; i++) if (x[i] > x[best]) best = i;
  return best;
}

// (V,) -> (V,) ; un logit à -∞ donne une probabilité nulle.
export function softmax(x) {
  const top = x[argmax(x)];
  let sum = 0;
  for (const value of x) sum += Math.exp(value - top);
  return Float32Array.from(x, (value) => Math.exp(value - top) / sum);
}

// Les n plus probables : [[numéro, probabilité], …], par probabilité décroissante.
export function mostProbable(p, n) {
  const best = [];
  for (let i = 0; i < p.length; i++) {
    if (best.length === n && p[i] <= best[n - 1][1]) continue;
    let place = best.length;
    while (place > 0 && best[place - 1][1] < p[i]) place--;
    best.splice(place, 0, [i, p[i]]);
    if (best.length > n) best.pop();
  }
  return best;
}

// Les filtres : chacun met à -∞ ce qu’il écarte, et garde ensemble les ex æquo du dernier gardé.

function keepTop(x, k) {
  if (k >= x.length) return;
  drop(x, Float32Array.from(x).sort()[x.length - k]);
}

function keepNucleus(x, mass) {
  const sorted = Float32Array.from(x).sort();
  const p = softmax(sorted); // croissantes
  let below = 0;
  let first = 0;
  while (first < p.length - 1 && below + p[first] <= 1 - mass) below += p[first++];
  drop(x, sorted[first]);
}

function keepAbove(x, share) {
  const p = softmax(x);
  const limit = share * p[argmax(p)];
  const best = argmax(p);
  for (let i = 0; i < x.length; i++) if (p[i] < limit && i !== best) x[i] = OFF;
}

function keepTypical(x, mass) {
  const p = softmax(x);
  let entropy = 0;
  for (const value of p) if (value > 0) entropy -= value * Math.log(value);
  const gap = Float32Array.from(p, (value) => Math.abs(-Math.log(value) - entropy));
  const order = Array.from(p.keys()).sort((a, b) => gap[a] - gap[b]);
  let reached = 0;
  let last = 0;
  while (last < order.length - 1 && reached + p[order[last]] < mass) reached += p[order[last++]];
  const limit = gap[order[last]];
  for (let i = 0; i < x.length; i++) if (gap[i] > limit) x[i] = OFF;
}

function drop(x, threshold) {
  for (let i = 0; i < x.length; i++) if (x[i] < threshold) x[i] = OFF;
}

function check({ temperature, topK, topP, minP, typicalP, repetitionPenalty }) {
  const positive = (value) => value > 0 && value < Infinity;
  const rules = [
    ["temperature", temperature, positive, "un nombre positif, ou null pour le glouton"],
    ["topK", topK, (k) => k >= 1 && Number.isInteger(k), "un entier d’au moins 1, ou null"],
    ["topP", topP, (p) => p > 0 && p <= 1, "une probabilité dans ]0, 1], ou null"],
    ["minP", minP, (p) => p >= 0 && p <= 1, "une fraction dans [0, 1], ou null"],
    ["typicalP", typicalP, (p) => p > 0 && p <= 1, "une probabilité dans ]0, 1], ou null"],
    ["repetitionPenalty", repetitionPenalty, positive, "un nombre positif ; 1 ne change rien"],
  ];
  for (const [name, value, holds, expected] of rules)
    if (value != null && !holds(value)) throw new RangeError(`${name}=${value} : ${expected}`);
}
