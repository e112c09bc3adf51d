// Dessiner une planification : la forme, l’échauffement, la descente et le plancher.
// Les formules sont celles de llmbook.schedules ; le pas arrêté montre ce que coûte une coupure.

import { make, number, slider, svgNode, svgText } from "./commun/dom.js";

const STEPS = 400;
const VIEW = { width: 640, height: 260, left: 44, right: 12, top: 14, bottom: 34 };

const FORMS = {
  wsd: ["WSD", (t, { warmup, decay, floor }) => {
    const start = Math.max(warmup, STEPS - Math.round(decay * STEPS));
    return t < start ? 1 : between(1 - progress(t, start), floor);
  }],
  cosinus: ["cosinus", (t, { warmup, floor }) =>
    between((1 + Math.cos(Math.PI * progress(t, warmup))) / 2, floor)],
  lineaire: ["linéaire", (t, { warmup, floor }) => between(1 - progress(t, warmup), floor)],
  racine: ["inverse de racine", (t, { warmup }) => Math.sqrt(Math.max(warmup, 1) / Math.max(t, 1))],
  constante: ["constante", () => 1],
};
const USES = { wsd: ["decay", "floor"], cosinus: ["floor"], lineaire: ["floor"], racine: [], constante: [] };

const progress = (t, start) => (STEPS > start ? Math.min(1, (t - start) / (STEPS - start)) : 1);
const between = (factor, floor) => floor + (1 - floor) * factor;
const factor = (form, t, s) => (t < s.warmup ? t / s.warmup : FORMS[form][1](t, s));

export default function (root) {
  const size = root.clientWidth < 480 ? 24 : 14;
  const form = makeSelect("Forme", Object.entries(FORMS).map(([key, [name]]) => [key, name]));
  const warmup = makeSlider("Échauffement (pas)", 0, 200, 10, 30, 0);
  const decay = makeSlider("Part de la descente", 0, 0.5, 0.05, 0.2, 2);
  const floor = makeSlider("Plancher", 0, 0.5, 0.05, 0, 2);
  const stop = makeSlider("Arrêt au pas", 20, STEPS, 20, STEPS, 0);
  const controls = document.createElement("div");
  controls.style.cssText = "display:flex;flex-wrap:wrap;gap:.4rem 2rem;margin-bottom:.5rem";
  controls.append(form.element, warmup.element, decay.element, floor.element, stop.element);
  const plot = makePlot(size);
  const status = document.createElement("p");
  status.setAttribute("role", "status");
  status.style.cssText = "min-height:3.2em;margin:.5rem 0 0";
  root.append(controls, plot.svg, status);

  function update() {
    const settings = { warmup: warmup.value(), decay: decay.value(), floor: floor.value() };
    const kind = form.value();
    decay.input.disabled = !USES[kind].includes("decay");
    floor.input.disabled = !USES[kind].includes("floor");
    const curve = Array.from({ length: STEPS + 1 }, (_, t) => factor(kind, t, settings));
    const last = stop.value();
    const mean = curve.slice(0, last).reduce((sum, value) => sum + value, 0) / last;
    plot.draw(curve, last);
    const end = curve[last];
    const verdict = end <= 0.15 ? "pose" : "coupe";
    root.dataset.verdict = verdict;
    root.dataset.fin = end.toFixed(4);
    status.textContent =
      `Sur les ${last}\u00a0premiers pas, le taux vaut en moyenne ${number(100 * mean, 0)}\u00a0% de son maximum. ` +
      `Au dernier, il en vaut encore ${number(100 * end, 0)}\u00a0%\u00a0: ${SENTENCES[verdict]}`;
    plot.svg.setAttribute("aria-label", `Facteur du taux selon le pas, ${FORMS[kind][0]}. ${status.textContent}`);
  }

  for (const control of [form, warmup, decay, floor, stop]) control.input.addEventListener("input", update);
  update();
}

const SENTENCES = {
  pose: "la descente a eu lieu.",
  coupe: "la descente n’a pas eu lieu, la perte garde le bruit du taux.",
};

// Le dessin

function makePlot(size) {
  const svg = svgNode("svg", { viewBox: `0 0 ${VIEW.width} ${VIEW.height}`, role: "img" });
  svg.style.cssText = "width:100%;height:auto;display:block";
  const [x0, y0] = pixel([0, 0]);
  const [x1, y1] = pixel([STEPS, 1]);
  svg.append(
    svgNode("path", { d: `M${x0} ${y1}V${y0}H${x1}`, style: "fill:none;stroke:var(--muted)" }),
    svgText(x0 - 6, y1 + size / 3, "1", "end", size),
    svgText(x0 - 6, y0 + size / 3, "0", "end", size),
    svgText(x1, y0 + size + 4, `${STEPS} pas`, "end", size),
  );
  const full = svgNode("polyline", { style: "fill:none;stroke:var(--muted);stroke-dasharray:5 4;stroke-width:1.5" });
  const done = svgNode("polyline", { class: "fait", style: "fill:none;stroke:var(--ochre);stroke-width:3" });
  const end = svgNode("circle", { r: 6, style: "fill:var(--bg);stroke:var(--ink);stroke-width:2.5" });
  svg.append(full, done, end);
  const points = (curve) => curve.map((y, t) => pixel([t, y]).map((v) => v.toFixed(1)).join(",")).join(" ");
  return {
    svg,
    draw(curve, last) {
      full.setAttribute("points", points(curve));
      done.setAttribute("points", points(curve.slice(0, last + 1)));
      const [cx, cy] = pixel([last, curve[last]]);
      end.setAttribute("cx", cx);
      end.setAttribute("cy", cy);
    },
  };
}

function pixel([t, y]) {
  const { width, height, left, right, top, bottom } = VIEW;
  return [left + (t / STEPS) * (width - left - right), height - bottom - y * (height - top - bottom)];
}

// Les réglages

function makeSelect(title, options) {
  const input = make("select", {}, ...options.map(([value, name]) => make("option", { value }, name)));
  const element = make("label", {}, make("span", {}, `${title} `), input);
  return { element, input, value: () => input.value };
}

const makeSlider = (title, min, max, step, value, digits) =>
  slider(title, { min, max, step, value }, (x) => number(x, digits));
