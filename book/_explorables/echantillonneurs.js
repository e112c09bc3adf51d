// Une loi du modèle nano et tous les filtres : ce que chacun garde, ce qu’il jette.
// data.contextes : {nom, texte, tokens, logits, reste}. Les 60 plus grands logits sont exacts ; reste
// donne quelques autres, [rang, logit], entre lesquels nous interpolons. Les filtres sont ceux de
// ./modele/sampling.js, plus eta et top-nσ, dans l’ordre de transformers.

import { button, make, number, slider, svgNode, svgText } from "./commun/dom.js";
import { probabilities, softmax } from "./modele/sampling.js";

const VIEW = { width: 640, height: 240, right: 6, top: 12, bottom: 30 };
const LISTED = 12;
let serial = 0;

// Les lois

// Tous les logits du vocabulaire, du plus grand au plus petit.
export function expand({ logits, reste }) {
  const all = [...logits];
  for (let k = 1; k < reste.length; k++) {
    const [[from, high], [to, low]] = [reste[k - 1], reste[k]];
    for (let rank = from + 1; rank <= to; rank++) {
      all.push(high + ((low - high) * (rank - from)) / (to - from));
    }
  }
  return all;
}

export const entropyOf = (p) => p.reduce((sum, x) => (x > 0 ? sum - x * Math.log(x) : sum), 0);

// Écarte les probabilités sous min(ε, √ε e^-H), et renormalise.
function eta(p, cutoff) {
  const limit = Math.min(cutoff, Math.sqrt(cutoff) * Math.exp(-entropyOf(p)));
  const top = Math.max(...p);
  return normalized(p, (x) => x >= limit || x === top);
}

// Garde les log-probabilités à moins de n écarts types de la plus grande, et renormalise.
function topNSigma(p, n) {
  const alive = Array.from(p).filter((x) => x > 0).map(Math.log);
  const mean = alive.reduce((sum, z) => sum + z, 0) / alive.length;
  const variance = alive.reduce((sum, z) => sum + (z - mean) ** 2, 0) / alive.length;
  const limit = Math.max(...alive) - n * Math.sqrt(variance);
  return normalized(p, (x) => Math.log(x) >= limit);
}

function normalized(p, keep) {
  const mass = p.reduce((sum, x) => (keep(x) ? sum + x : sum), 0);
  return p.map((x) => (keep(x) ? x / mass : 0));
}

// La loi que laissent les filtres ; settings.first : la température passe avant eux. null : absent.
export function law(logits, settings) {
  const { temperature, first, topK, topP, minP, typicalP } = settings;
  let p = probabilities(logits, { temperature: first ? temperature : 1, topK, topP, minP, typicalP });
  if (settings.eta != null) p = eta(p, settings.eta);
  if (settings.sigma != null) p = topNSigma(p, settings.sigma);
  return first ? p : softmax(p.map((x) => Math.log(x) / temperature));
}

// La figure

const CONTROLS = [
  // nom, titre, minimum, maximum, pas, départ, valeur qui retire le filtre, décimales
  ["temperature", "Température", 0.1, 3, 0.05, 1, null, 2],
  ["topK", "top-k", 0, 100, 1, 0, 0, 0],
  ["topP", "top-p", 0.05, 1, 0.05, 0.9, 1, 2],
  ["minP", "min-p", 0, 0.5, 0.01, 0, 0, 2],
  ["typicalP", "typique", 0.05, 1, 0.05, 1, 1, 2],
  ["eta", "eta", 0, 0.02, 0.0005, 0, 0, 4],
  ["sigma", "top-nσ", 0, 3, 0.1, 0, 0, 1],
];

export default function (root, data) {
  const choice = makeSelect("Après", data.contextes.map((c, i) => [String(i), c.texte]));
  const order = makeSelect("Chauffer", [["first", "avant les filtres"], ["last", "après les filtres"]]);
  const sliders = Object.fromEntries(CONTROLS.map(([name, ...rest]) => [name, makeSlider(...rest)]));
  const reset = button("Tout retirer", () => {
    for (const [name, , , , , , off] of CONTROLS) sliders[name].set(off ?? 1);
    order.input.value = "first";
    update();
  });
  const controls = make("div", { style: "display:flex;flex-wrap:wrap;gap:.4rem 1.6rem;margin-bottom:.5rem" },
    choice.label, order.label, ...Object.values(sliders).map((s) => s.element), reset);
  const plot = makePlot(root.clientWidth < 480 ? 24 : 14);
  const list = make("ol", {
    style: "columns:9.5rem;margin:.5rem 0;padding-left:1.8rem;font-size:.85rem;font-variant-numeric:tabular-nums",
  });
  const status = make("p", { role: "status", style: "min-height:4.8em;margin:.5rem 0 0" });
  root.append(controls, plot.svg, list, status);

  function settings() {
    const values = Object.entries(sliders).map(([name, slider]) => [name, slider.value()]);
    return { ...Object.fromEntries(values), first: order.input.value === "first" };
  }

  function update() {
    const context = data.contextes[Number(choice.input.value)];
    const logits = expand(context);
    const now = settings();
    const before = probabilities(logits, { temperature: now.temperature }); // chauffée, sans filtre
    const after = law(logits, now);
    const count = after.filter((x) => x > 0).length;
    const hidden = after.slice(context.logits.length).filter((x) => x > 0).length;
    const mass = before.reduce((sum, x, i) => (after[i] > 0 ? sum + x : sum), 0);
    plot.draw(before, after, context.tokens);
    list.replaceChildren(...context.tokens.slice(0, LISTED).map((token, i) =>
      make("li", {}, make("code", {}, token), after[i] > 0 ? ` ${number(after[i], 3)}` : " jeté")));
    root.dataset.gardes = count;
    root.dataset.entropie = entropyOf(after).toFixed(3);
    root.dataset.masse = mass.toFixed(3);
    const kept = count > 1 ? `${number(count)}\u00a0tokens gardés` : "Un seul token gardé";
    status.textContent =
      `${kept} sur ${number(logits.length)}${hidden ? `, dont ${number(hidden)} au-delà du dessin` : ""}\u00a0: ` +
      `${number(100 * mass, 1)}\u00a0% de la masse. Entropie ${number(entropyOf(after), 2)}\u00a0nats, ` +
      `contre ${number(entropyOf(before), 2)} sans filtre.` +
      (after[0] > 0 ? "" : " Le token le plus probable est jeté.");
    plot.svg.setAttribute("aria-label",
      `Probabilité des ${context.logits.length}\u00a0premiers tokens après «\u00a0${context.texte}\u00a0». ${status.textContent}`);
  }

  for (const control of [choice, order, ...Object.values(sliders)]) {
    control.input.addEventListener("input", update);
  }
  update();
}

// Le dessin : barre pleine, gardé, à sa probabilité finale ; barre hachurée, jeté, à celle d’avant.
// La hauteur suit la racine carrée, pour que la queue se voie.

function makePlot(size) {
  const { width, height, right, top, bottom } = VIEW;
  const left = 3.3 * size; // la place de « 0,37 »
  const id = `hachures-${serial++}`;
  const svg = svgNode("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  svg.style.cssText = "width:100%;height:auto;display:block";
  const stripes = { id, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" };
  const pattern = svgNode("pattern", stripes);
  pattern.append(svgNode("path", { d: "M0 0V5", style: "stroke:var(--ochre);stroke-width:2.4" }));
  const defs = svgNode("defs", {});
  defs.append(pattern);
  const floor = height - bottom;
  const high = svgText(left - 6, top + size / 2, "", "end", size);
  const bars = svgNode("g", {});
  svg.append(
    defs,
    svgNode("path", { d: `M${left} ${top}V${floor}H${width - right}`, style: "fill:none;stroke:var(--muted)" }),
    high,
    svgText(left - 6, floor, "0", "end", size),
    svgText(width - right, height - 6, "rang →", "end", size),
    bars,
  );
  return {
    svg,
    draw(before, after, tokens) {
      const shown = tokens.map((_, i) => (after[i] > 0 ? after[i] : before[i]));
      const most = Math.max(...shown);
      const step = (width - left - right) / tokens.length;
      high.textContent = number(most, 2);
      bars.replaceChildren(...shown.map((p, i) => {
        const tall = Math.max(1, Math.sqrt(p / most) * (floor - top));
        const kept = after[i] > 0;
        return svgNode("rect", {
          class: kept ? "garde" : "jete", x: (left + i * step + 1).toFixed(1), y: (floor - tall).toFixed(1),
          width: (step - 2).toFixed(1), height: tall.toFixed(1),
          style: kept ? "fill:var(--ink)" : `fill:url(#${id});stroke:var(--ochre);stroke-width:1`,
        });
      }));
    },
  };
}

// Les réglages

function makeSelect(title, options) {
  const input = make("select", { style: "max-width:100%" },
    ...options.map(([value, name]) => make("option", { value }, name)));
  return { label: make("label", {}, make("span", {}, `${title} `), input), input };
}

// Un curseur dont la valeur `off` retire le filtre : value() rend alors null.
function makeSlider(title, min, max, step, start, off, digits) {
  const made = slider(title, { min, max, step, value: start }, (x) => (x === off ? "sans" : number(x, digits)));
  made.element.lastChild.style.cssText = "display:inline-block;min-width:3.6em";
  return { ...made, value: () => (made.value() === off ? null : made.value()) };
}
