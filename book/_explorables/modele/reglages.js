// Les réglages du tirage, sous la main du lecteur.

import { make, number, percent, plural, slider } from "../commun/dom.js";

// {element, sampling(), seed(), length(), nextSeed()} ; sampling() est celui de sampling.js.
export function makeSettings() {
  const greedy = make("input", { type: "checkbox" });
  const greedyLabel = make("label", { class: "glouton" }, greedy, make("span", {}, "Glouton : toujours le plus probable"));
  const temperature = slider("Température", { min: 0.1, max: 2, step: 0.1, value: 0.7 }, (x) => number(x, 1));
  const topK = slider("Top-k", { min: 0, max: 100, step: 1, value: 0 }, (k) => (k ? plural(k, "token") : "sans"));
  const topP = slider("Top-p", { min: 0.05, max: 1, step: 0.05, value: 0.95 }, (p) => (p < 1 ? number(p, 2) : "sans"));
  const minP = slider("Min-p", { min: 0, max: 0.5, step: 0.01, value: 0 }, (p) => (p ? percent(p) : "sans"));
  const penalty = slider("Pénalité de répétition", { min: 1, max: 2, step: 0.05, value: 1 }, (x) => (x > 1 ? number(x, 2) : "sans"));
  const length = slider("Longueur", { min: 16, max: 512, step: 16, value: 128 }, (n) => plural(n, "token"));
  const seed = make("input", { type: "number", min: 0, max: 999999, step: 1, value: 1, inputmode: "numeric" });
  const seedLabel = make("label", {}, make("span", {}, "Graine"), seed);

  const drawn = [temperature, topK, topP, minP];
  const refresh = () => {
    for (const { input } of drawn) input.disabled = greedy.checked;
    seed.disabled = greedy.checked;
  };
  greedy.addEventListener("change", refresh);

  const controls = [greedyLabel, ...[temperature, topK, topP, minP, penalty, length].map((c) => c.element), seedLabel];
  const some = (value, off) => (value === off ? null : value);
  return {
    element: make("fieldset", { class: "reglages" }, make("legend", {}, "Réglages"), ...controls),
    length: length.value,
    seed: () => Math.trunc(Number(seed.value)) || 0,
    nextSeed: () => (seed.value = String((Math.trunc(Number(seed.value)) || 0) + 1)),
    sampling: () => ({
      temperature: greedy.checked ? null : temperature.value(),
      topK: some(topK.value(), 0),
      topP: some(topP.value(), 1),
      minP: some(minP.value(), 0),
      repetitionPenalty: penalty.value(),
    }),
  };
}
