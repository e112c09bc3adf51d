// Le pas et l’inertie sur une coupe de la vraie perte : deux réglages, une trajectoire.
// data : poids (fréquence de la ligne), p (probabilités), w (logits au minimum),
//        axes (deux directions : douce, raide), lambda (leurs courbures).

import { number, slider, svgNode, svgText } from "./commun/dom.js";

const STEPS = 60;
const START = [-8, 2];
const VIEW = { x: [-10, 10], y: [-4, 4], width: 640, height: 300 };

export default function (root, data) {
  const surface = makeSurface(data);
  const limit = 2 / data.lambda[1];
  const plot = makePlot(surface, root.clientWidth < 480 ? 24 : 14);
  const rate = slider("Pas, en fraction de la limite", { min: 0.05, max: 2.5, step: 0.05, value: 0.1 }, (x) => number(x, 2));
  const beta = slider("Inertie β", { min: 0, max: 0.95, step: 0.05, value: 0 }, (x) => number(x, 2));
  const status = document.createElement("p");
  status.setAttribute("role", "status");
  status.style.cssText = "min-height:3.2em;margin:.5rem 0 0";
  const controls = document.createElement("div");
  controls.style.cssText = "display:flex;flex-wrap:wrap;gap:.4rem 2rem;margin-bottom:.5rem";
  controls.append(rate.element, beta.element);
  root.append(controls, plot.svg, status);

  function update() {
    const path = descend(surface, rate.value() * limit, beta.value());
    const gaps = path.map(surface.excess);
    plot.draw(path);
    const verdict = judge(gaps);
    root.dataset.verdict = verdict;
    const bound = 1 + beta.value();
    status.textContent =
      `Pas ${number(rate.value() * limit, 1)}, soit ${number(rate.value() / bound, 2)}\u00a0fois la limite ` +
      `${beta.value() ? "avec cette inertie" : "sans inertie"} (${number(bound * limit, 1)}). ` +
      `Après ${STEPS}\u00a0pas, l’excès de perte vaut ${number(gaps[STEPS], 5)}\u00a0: ${SENTENCES[verdict]}`;
    plot.svg.setAttribute("aria-label", `Lignes de niveau de la perte et trajectoire. ${status.textContent}`);
  }

  for (const slider of [rate, beta]) slider.input.addEventListener("input", update);
  update();
}

const SENTENCES = {
  arrive: "la descente est au fond.",
  route: "la descente est encore en chemin.",
  rebond: "la descente rebondit sans se poser.",
};

// La perte exacte dans la coupe, et son gradient

function makeSurface({ poids, p, w, axes }) {
  const dot = (a, b) => a.reduce((sum, value, k) => sum + value * b[k], 0);
  const slopes = axes.map((axis) => dot(p, axis));
  const row = ([x, y]) => w.map((value, k) => value + x * axes[0][k] + y * axes[1][k]);
  const logsumexp = (z) => {
    const top = Math.max(...z);
    return top + Math.log(z.reduce((sum, value) => sum + Math.exp(value - top), 0));
  };
  return {
    excess([x, y]) {
      const gain = x * slopes[0] + y * slopes[1]; // w contient des log-probabilités : 0 au minimum
      return Math.max(0, poids * (logsumexp(row([x, y])) - gain));
    },
    gradient(point) {
      const z = row(point);
      const log = logsumexp(z);
      const q = z.map((value) => Math.exp(value - log));
      return axes.map((axis, i) => poids * (dot(q, axis) - slopes[i]));
    },
  };
}

function descend(surface, rate, beta) {
  let point = START;
  let speed = [0, 0];
  const path = [point];
  for (let step = 0; step < STEPS; step++) {
    const g = surface.gradient(point);
    speed = speed.map((v, i) => beta * v + g[i]);
    point = point.map((v, i) => v - rate * speed[i]);
    path.push(point);
  }
  return path;
}

// Au fond ; sinon, la perte a-t-elle cessé de baisser ? (maxima : un cycle de deux pas oscille)
function judge(gaps) {
  const late = Math.max(...gaps.slice(-10));
  const middle = Math.max(...gaps.slice(-30, -20));
  if (late < 1e-3 * gaps[0]) return "arrive";
  return late > 0.9 * middle ? "rebond" : "route";
}

// Le dessin

function makePlot(surface, size) {
  const svg = svgNode("svg", { viewBox: `0 0 ${VIEW.width} ${VIEW.height}`, role: "img" });
  svg.style.cssText = "width:100%;height:auto;display:block";
  const high = Math.sqrt(surface.excess([VIEW.x[1], VIEW.y[1]]));
  for (let k = 1; k <= 11; k++) {
    const shape = contour(surface, (high * k) / 11);
    svg.append(svgNode("path", { d: shape, style: "fill:none;stroke:var(--muted);stroke-opacity:.55" }));
  }
  svg.append(
    svgText(VIEW.width - 8, VIEW.height - 8, "direction douce →", "end", size),
    svgText(VIEW.width - 8, size + 2, "direction raide ↑", "end", size),
  );
  const [cx, cy] = pixel([0, 0]);
  const cross = `M${cx - 7} ${cy}h14M${cx} ${cy - 7}v14`;
  const trail = svgNode("polyline", { style: "fill:none;stroke:var(--ochre);stroke-width:1.5" });
  const dots = svgNode("g", { style: "fill:var(--ochre)" });
  const [sx, sy] = pixel(START);
  svg.append(
    trail,
    dots,
    svgNode("path", { d: cross, style: "stroke:var(--ink);stroke-width:2.5" }),
    svgNode("circle", { cx: sx, cy: sy, r: 6, style: "fill:var(--bg);stroke:var(--ink);stroke-width:2.5" }),
    svgText(sx, sy - 12, "départ", "middle", size),
  );
  return {
    svg,
    draw(path) {
      const points = path.map(pixel);
      trail.setAttribute("points", points.map((xy) => xy.map((v) => v.toFixed(1)).join(",")).join(" "));
      dots.replaceChildren(...points.map(([cx, cy]) => svgNode("circle", { cx, cy, r: 2.6 })));
    },
  };
}

// Ligne de niveau, par la méthode des carrés : un segment par carré coupé.
function contour(surface, root) {
  const columns = 80, rows = 40;
  const at = (i, j) => [
    VIEW.x[0] + ((VIEW.x[1] - VIEW.x[0]) * i) / columns,
    VIEW.y[0] + ((VIEW.y[1] - VIEW.y[0]) * j) / rows,
  ];
  surface.grid ??= Array.from({ length: columns + 1 }, (_, i) =>
    Array.from({ length: rows + 1 }, (_, j) => Math.sqrt(surface.excess(at(i, j)))));
  let shape = "";
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j < rows; j++) {
      const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]];
      const cuts = [];
      for (let k = 0; k < 4; k++) {
        const [a, b] = [corners[k], corners[(k + 1) % 4]];
        const [u, v] = [surface.grid[a[0]][a[1]] - root, surface.grid[b[0]][b[1]] - root];
        if (u < 0 !== v < 0) cuts.push(between(pixel(at(...a)), pixel(at(...b)), u / (u - v)));
      }
      for (let k = 0; k + 1 < cuts.length; k += 2) shape += `M${cuts[k]}L${cuts[k + 1]}`;
    }
  }
  return shape;
}

const between = (a, b, s) => a.map((v, i) => (v + s * (b[i] - v)).toFixed(1)).join(" ");

function pixel([x, y]) {
  return [
    ((x - VIEW.x[0]) / (VIEW.x[1] - VIEW.x[0])) * VIEW.width,
    ((VIEW.y[1] - y) / (VIEW.y[1] - VIEW.y[0])) * VIEW.height,
  ];
}
