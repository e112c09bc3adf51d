// La carte des mots : un mot choisi, ses voisins vrais (en 64 dimensions, dans les données) et ses
// voisins apparents (les plus proches sur la carte, calculés ici).
// data : mots (n), voisins (n listes d’indices, du plus proche au plus lointain),
//        cartes { nom: n couples de coordonnées entières }.

import { make, number, svgNode } from "./commun/dom.js";

const NAMES = { tsne: "t-SNE", acp: "ACP" };
const SIDE = 1000;
const MARGIN = 40;
const FIRST = "dict";

export default function (root, data) {
  const k = data.voisins[0].length;
  const apparent = mapObject(data.cartes, (points) => points.map((_, i) => nearest(points, i, k)));
  const shares = mapObject(apparent, (lists) => mean(lists.map((list, i) => common(list, data.voisins[i]))) / k);
  const state = { word: Math.max(0, data.mots.indexOf(FIRST)), map: Object.keys(NAMES)[0] };

  const controls = make("div", { class: "carte-reglages" });
  controls.style.cssText = "display:flex;flex-wrap:wrap;gap:.4rem 2rem;margin-bottom:.5rem";
  const select = labelled("Carte", make("select"));
  for (const [value, name] of Object.entries(NAMES)) select.input.append(Object.assign(make("option"), { value, textContent: name }));
  const search = labelled("Chercher un mot", make("input", { type: "text", autocomplete: "off", spellcheck: "false", size: "14" }));
  const options = make("datalist", { id: `${root.parentElement.id || "carte"}-mots` });
  options.append(...[...data.mots].sort().map((value) => Object.assign(make("option"), { value })));
  search.input.setAttribute("list", options.id);
  controls.append(select.label, search.label, options);

  const plot = makePlot(data, root.clientWidth < 480 ? 40 : 24, choose);
  const status = make("p", { role: "status" });
  status.style.cssText = "min-height:4.8em;margin:.5rem 0 0";
  const trueList = makeList("Voisins vrais, en dimension pleine");
  const mapList = makeList("Voisins apparents, sur la carte");
  root.append(controls, plot.svg, status, trueList.box, mapList.box);

  function choose(word) {
    state.word = word;
    update();
  }

  function update() {
    const { word, map } = state;
    const truth = data.voisins[word];
    const shown = apparent[map][word];
    const kept = common(truth, shown);
    const name = data.mots[word];
    root.dataset.mot = name;
    root.dataset.gardes = kept;
    root.dataset.part = shares[map].toFixed(4);
    search.input.value = name;
    plot.draw(data.cartes[map], word, truth, shown);
    trueList.fill(truth, data.mots, (i) => shown.includes(i), choose);
    mapList.fill(shown, data.mots, (i) => truth.includes(i), choose);
    status.textContent =
      `${NAMES[map]}\u00a0: la carte garde ${kept} des ${k}\u00a0voisins vrais de «\u00a0${name}\u00a0». ` +
      `En moyenne, sur les ${data.mots.length}\u00a0mots, elle en garde ${number(100 * shares[map])}\u00a0%.`;
    plot.svg.setAttribute("aria-label", `Carte de ${data.mots.length} mots. ${status.textContent}`);
  }

  select.input.addEventListener("input", () => {
    state.map = select.input.value;
    update();
  });
  search.input.addEventListener("change", () => {
    const typed = search.input.value.trim().toLowerCase();
    const found = data.mots.indexOf(typed);
    if (found >= 0) return choose(found);
    const close = typed ? data.mots.findIndex((mot) => mot.startsWith(typed)) : -1;
    if (close >= 0) return choose(close);
    status.textContent = `«\u00a0${typed}\u00a0» n’est pas parmi les ${data.mots.length}\u00a0mots de la carte.`;
  });
  update();
}

// Voisins

function nearest(points, i, k) {
  const [x, y] = points[i];
  return points
    .map(([a, b], j) => [(a - x) ** 2 + (b - y) ** 2, j])
    .filter(([, j]) => j !== i)
    .sort((p, q) => p[0] - q[0] || p[1] - q[1])
    .slice(0, k)
    .map(([, j]) => j);
}

const common = (a, b) => a.filter((i) => b.includes(i)).length;
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const mapObject = (object, f) => Object.fromEntries(Object.entries(object).map(([key, value]) => [key, f(value)]));

// Le dessin

function makePlot(data, size, choose) {
  const full = SIDE + 2 * MARGIN;
  const svg = svgNode("svg", { viewBox: `0 0 ${full} ${full}`, role: "img" });
  svg.style.cssText = "width:100%;height:auto;display:block;max-height:36rem";
  const layers = ["points", "liens", "noms"].map((name) => svgNode("g", { class: name }));
  const hover = svgNode("text", { class: "survol", "font-size": size, style: "fill:var(--text);pointer-events:none" });
  svg.append(...layers, hover);
  const [dots, links, names] = layers;
  const circles = data.mots.map((mot, i) => {
    const circle = svgNode("circle", { r: 7, style: "cursor:pointer" });
    circle.append(Object.assign(svgNode("title", {}), { textContent: mot }));
    circle.addEventListener("click", () => choose(i));
    circle.addEventListener("mouseenter", () => label(hover, current[i], mot, full));
    circle.addEventListener("mouseleave", () => (hover.textContent = ""));
    dots.append(circle);
    return circle;
  });
  let current = [];

  function draw(points, word, truth, shown) {
    current = points.map(([x, y]) => [x + MARGIN, full - MARGIN - y]);
    circles.forEach((circle, i) => {
      circle.setAttribute("cx", current[i][0]);
      circle.setAttribute("cy", current[i][1]);
      circle.setAttribute("r", i === word ? 14 : truth.includes(i) || shown.includes(i) ? 10 : 7);
      circle.style.fill = i === word || truth.includes(i) ? "var(--ochre)" : shown.includes(i) ? "none" : "var(--muted)";
      circle.style.stroke = shown.includes(i) && !truth.includes(i) ? "var(--ink)" : "none";
      circle.style.strokeWidth = 4;
      circle.style.opacity = i === word || truth.includes(i) || shown.includes(i) ? 1 : 0.45;
    });
    links.replaceChildren(...truth.map((i) => svgNode("line", {
      x1: current[word][0], y1: current[word][1], x2: current[i][0], y2: current[i][1],
      style: "stroke:var(--ochre);stroke-width:3",
      "stroke-dasharray": shown.includes(i) ? "none" : "10 8",
    })));
    names.replaceChildren(...[word].map((i) => {
      const text = svgNode("text", { "font-size": size * 1.3, "font-weight": "bold", style: "fill:var(--text);pointer-events:none;paint-order:stroke;stroke:var(--bg);stroke-width:6" });
      label(text, current[i], data.mots[i], full);
      return text;
    }));
  }
  return { svg, draw };
}

function label(text, [x, y], content, full) {
  text.textContent = content;
  text.setAttribute("x", x + (x > full * 0.75 ? -18 : 18));
  text.setAttribute("y", y - 12);
  text.setAttribute("text-anchor", x > full * 0.75 ? "end" : "start");
}

// Les réglages et les listes

function labelled(title, input) {
  const label = make("label");
  label.append(Object.assign(make("span"), { textContent: `${title} ` }), input);
  return { label, input };
}

// Une liste de boutons : chacun mène à son mot. Le signe dit si l’autre liste l’a aussi.
function makeList(title) {
  const box = make("div", { role: "group", "aria-label": title });
  box.style.cssText = "margin:.4rem 0;display:flex;flex-wrap:wrap;gap:.3rem .4rem;align-items:baseline";
  return {
    box,
    fill(list, words, isCommon, choose) {
      const had = [...box.querySelectorAll("button")].indexOf(document.activeElement);
      const heading = Object.assign(make("span"), { textContent: `${title}\u00a0:` });
      heading.style.cssText = "flex-basis:100%;color:var(--muted)";
      box.replaceChildren(heading, ...list.map((i) => {
        const button = Object.assign(make("button", { type: "button" }), { textContent: `${isCommon(i) ? "=" : "≠"} ${words[i]}` });
        button.setAttribute("aria-label", `${words[i]}, ${isCommon(i) ? "dans les deux listes" : "dans cette liste seulement"}`);
        button.style.cssText = "font:inherit;color:var(--ink);background:none;border:1px solid var(--line);border-radius:3px;padding:.05rem .4rem;cursor:pointer";
        button.addEventListener("click", () => choose(i));
        return button;
      }));
      if (had >= 0) box.querySelectorAll("button")[Math.min(had, list.length - 1)]?.focus();
    },
  };
}
