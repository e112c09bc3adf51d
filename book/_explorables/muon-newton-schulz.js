// Newton–Schulz sur une valeur singulière : p(σ) = a σ + b σ³ + c σ⁵, appliqué plusieurs fois.

import { make, number, slider, svgNode, svgText } from "./commun/dom.js";

const PRESETS = {
  "coefficients de Jordan": [3.4445, -4.775, 2.0315],
  "polynôme cubique": [1.5, -0.5, 0],
  "degré cinq convergent": [1.875, -1.25, 0.375],
};
const VIEW = { width: 640, height: 320, left: 44, right: 12, top: 14, bottom: 40, low: 1e-3, high: 1.6 };
const POINTS = Array.from({ length: 401 }, (_, i) => VIEW.low ** (1 - i / 400));

export default function (root) {
  const plot = makePlot(root.clientWidth < 480 ? 24 : 14);
  const sliders = [
    makeSlider("Coefficient a", 1, 5, 0.0005, 3.4445, 4),
    makeSlider("Coefficient b", -6, 0, 0.0005, -4.775, 4),
    makeSlider("Coefficient c", 0, 3, 0.0005, 2.0315, 4),
    makeSlider("Nombre de pas", 1, 20, 1, 5, 0),
  ];
  const buttons = make("div");
  buttons.style.cssText = "display:flex;flex-wrap:wrap;gap:.5rem;margin-bottom:.5rem";
  for (const [name, values] of Object.entries(PRESETS)) {
    const button = make("button", { type: "button" });
    button.textContent = name;
    button.addEventListener("click", () => {
      values.forEach((value, i) => sliders[i].set(value));
      update();
    });
    buttons.append(button);
  }
  const controls = make("div");
  controls.style.cssText = "display:flex;flex-wrap:wrap;gap:.4rem 2rem;margin-bottom:.5rem";
  controls.append(...sliders.map((slider) => slider.element));
  const status = make("p", { role: "status" });
  status.style.cssText = "min-height:4.8em;margin:.5rem 0 0";
  root.append(buttons, controls, plot.svg, status);

  function update() {
    const [a, b, c, steps] = sliders.map((slider) => slider.value());
    const after = (sigma) => iterate(sigma, a, b, c, steps);
    plot.draw(POINTS.map((sigma) => [sigma, after(sigma)]));
    const seen = POINTS.filter((sigma) => sigma >= 0.01).map(after);
    const [low, high] = [Math.min(...seen), Math.max(...seen)];
    const verdict = judge(low, high);
    root.dataset.verdict = verdict;
    const where = verdict === "explose" ? "" :
      `Après ${steps}\u00a0pas, les tailles parties de 0,01 à 1 vont de ${french(low, 2)} à ${french(high, 2)}. `;
    status.textContent = `${where}${SENTENCES[verdict]} Près de zéro, une taille est multipliée par ` +
      `${french(a ** steps, a ** steps < 100 ? 1 : 0)}.`;
    plot.svg.setAttribute("aria-label", `Taille finale selon la taille de départ. ${status.textContent}`);
  }

  for (const slider of sliders) slider.input.addEventListener("input", update);
  update();
}

const SENTENCES = {
  un: "Toutes sont à 1, à 5\u00a0% près.",
  intervalle: "Toutes sont entrées dans un intervalle autour de 1.",
  lent: "Les petites n’ont pas eu le temps d’arriver.",
  explose: "Des tailles sortent de l’intervalle ou deviennent négatives\u00a0: le pas serait faux.",
};

function iterate(sigma, a, b, c, steps) {
  for (let k = 0; k < steps; k++) {
    const square = sigma * sigma;
    sigma *= a + square * (b + c * square);
    if (!(Math.abs(sigma) < 1e6)) return Infinity;
  }
  return sigma;
}

function judge(low, high) {
  if (low < 0 || high > VIEW.high) return "explose";
  if (low > 0.95 && high < 1.05) return "un";
  return low >= 0.5 ? "intervalle" : "lent";
}

// Le dessin

function makePlot(size) {
  const svg = svgNode("svg", { viewBox: `0 0 ${VIEW.width} ${VIEW.height}`, role: "img" });
  svg.style.cssText = "width:100%;height:auto;display:block";
  for (const [y, name] of [[0, "0"], [0.5, "0,5"], [1, "1"], [1.5, "1,5"]]) {
    const [x0, py] = pixel([VIEW.low, y]);
    const dash = y === 1 ? "4 4" : "none";
    const style = `stroke:var(--muted);stroke-opacity:${y === 1 ? 1 : 0.3};stroke-dasharray:${dash}`;
    svg.append(svgNode("path", { d: `M${x0} ${py}H${VIEW.width - VIEW.right}`, style }));
    svg.append(svgText(x0 - 6, py + size / 3, name, "end", size));
  }
  for (const [x, name] of [[0.001, "0,001"], [0.01, "0,01"], [0.1, "0,1"], [1, "1"]]) {
    const [px, py] = pixel([x, 0]);
    svg.append(svgText(px, py + size + 4, name, x === 1 ? "end" : "middle", size));
  }
  const curve = svgNode("path", { style: "fill:none;stroke:var(--ochre);stroke-width:2.5" });
  const right = VIEW.width - VIEW.right;
  svg.append(
    curve,
    svgText(VIEW.left + 6, VIEW.top + size, "taille finale ↑", "start", size),
    svgText(right, VIEW.height - VIEW.bottom - 8, "taille de départ →", "end", size),
  );
  return {
    svg,
    draw(points) {
      let shape = "", isOpen = false;
      for (const [x, y] of points) {
        const isSeen = y >= -0.05 && y <= VIEW.high;
        if (isSeen) shape += (isOpen ? "L" : "M") + pixel([x, y]).map((v) => v.toFixed(1)).join(" ");
        isOpen = isSeen;
      }
      curve.setAttribute("d", shape);
    },
  };
}

function pixel([x, y]) {
  const across = 1 - Math.log(x) / Math.log(VIEW.low);
  return [
    VIEW.left + across * (VIEW.width - VIEW.left - VIEW.right),
    VIEW.top + (1 - y / VIEW.high) * (VIEW.height - VIEW.top - VIEW.bottom),
  ];
}

// Les réglages

const french = (x, digits) => number(x, digits).replace("-", "−");

const makeSlider = (title, min, max, step, value, digits) =>
  slider(title, { min, max, step, value }, (x) => french(x, digits));
