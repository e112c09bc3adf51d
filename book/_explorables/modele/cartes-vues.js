// Les vues d’une carte d’attention : vignettes des têtes, matrice, tokens reliés par leurs poids.
//
// Une carte : { layers, heads, length, weight(l, h, i, j), names: [écrits], spoken: [dits] }. Une case
// est d’autant plus opaque que son poids est grand (en racine, pour que les petits se voient) ; la
// couleur, moyenne, se lit sur les deux fonds ; toute valeur est aussi écrite.

import { NBSP, make, percent } from "../commun/dom.js";

const TINT = [176, 100, 30];

function paint(canvas, maps, layer, head) {
  const n = maps.length;
  canvas.width = canvas.height = n;
  const context = canvas.getContext("2d");
  const image = context.createImageData(n, n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++)
      image.data.set([...TINT, Math.round(255 * Math.sqrt(maps.weight(layer, head, i, j)))], 4 * (i * n + j));
  context.putImageData(image, 0, 0);
}

// Les têtes, en grille : un seul arrêt de tabulation, les flèches passent de l’une à l’autre.
export function makeThumbnails(choose, types = {}) {
  const element = make("div", { class: "vignettes", role: "group", "aria-label": "Têtes : une ligne par couche" });
  let buttons = [];
  let heads = 0;

  function fill(maps) {
    heads = maps.heads;
    element.style.gridTemplateColumns = `repeat(${heads}, minmax(0, 1fr))`;
    const count = maps.layers * heads;
    if (buttons.length !== count) {
      buttons = Array.from({ length: count }, (_, k) => {
        const [l, h] = [Math.floor(k / heads), k % heads];
        const type = types[`${l + 1}.${h + 1}`];
        const button = make("button", { type: "button", "aria-label": `couche ${l + 1}, tête ${h + 1}${type ? `, ${type}` : ""}` },
          make("canvas", { "aria-hidden": "true" }), make("span", { "aria-hidden": "true" }, `${l + 1}.${h + 1}`));
        button.addEventListener("click", () => choose(l, h));
        return button;
      });
      element.replaceChildren(...buttons);
    }
    buttons.forEach((button, k) => paint(button.firstChild, maps, Math.floor(k / heads), k % heads));
  }

  function mark(layer, head) {
    buttons.forEach((button, k) => {
      const chosen = k === layer * heads + head;
      button.setAttribute("aria-pressed", String(chosen));
      button.tabIndex = chosen ? 0 : -1;
    });
  }

  element.addEventListener("keydown", (event) => {
    const here = buttons.indexOf(event.target.closest("button"));
    const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: heads, ArrowUp: -heads };
    let to = here + (moves[event.key] ?? 0);
    if (event.key === "Home") to = 0;
    else if (event.key === "End") to = buttons.length - 1;
    else if (!(event.key in moves)) return;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (!buttons[to]) return;
    choose(Math.floor(to / heads), to % heads);
    buttons[to].focus();
  });
  return { element, fill, mark };
}

// La carte d’une tête ; un clic choisit la ligne, c’est-à-dire le token qui regarde.
export function makeMatrix(choose) {
  const canvas = make("canvas", { role: "img" });
  const row = make("span", { class: "ligne", "aria-hidden": "true" });
  const under = make("p", { class: "sous-souris", "aria-hidden": "true" });
  const element = make("div", { class: "matrice" }, make("div", { class: "cadre" }, canvas, row), under);
  let shown;
  const cell = (event) => {
    const box = canvas.getBoundingClientRect();
    const at = (x, size) => Math.max(0, Math.min(shown.maps.length - 1, Math.floor((x / size) * shown.maps.length)));
    return [at(event.clientY - box.top, box.height), at(event.clientX - box.left, box.width)];
  };
  canvas.addEventListener("click", (event) => choose(cell(event)[0]));
  canvas.addEventListener("mousemove", (event) => {
    const [i, j] = cell(event);
    const { maps, layer, head } = shown;
    under.textContent = j > i ? "plus loin : caché" : `${maps.names[i]} → ${maps.names[j]} : ${percent(maps.weight(layer, head, i, j))}`;
  });
  canvas.addEventListener("mouseleave", () => (under.textContent = HINT));
  under.textContent = HINT;

  function draw(maps, layer, head, token) {
    shown = { maps, layer, head };
    paint(canvas, maps, layer, head);
    row.style.top = `${(100 * token) / maps.length}%`;
    row.style.height = `${100 / maps.length}%`;
    canvas.setAttribute("aria-label",
      `Carte de la couche ${layer + 1}, tête ${head + 1} : ${maps.length} tokens. Les poids sont écrits dans la liste des tokens.`);
  }
  return { element, draw };
}
const HINT = "En ligne, le token qui regarde ; en colonne, celui qu’il regarde.";

// Le texte, token par token : on en choisit un, les autres portent le poids qu’il leur donne.
export function makeTokenList(choose) {
  const element = make("div", { class: "tokens", role: "listbox", "aria-label": "Token qui regarde", "aria-orientation": "horizontal", translate: "no" });
  let nodes = [];

  function fill(maps) {
    nodes = maps.names.map((name, i) => {
      const node = make("span", { role: "option", class: "token", "aria-label": `${i + 1}, ${maps.spoken[i]}` },
        make("code", {}, name), make("span", { class: "trait", "aria-hidden": "true" }), make("small", { "aria-hidden": "true" }));
      node.addEventListener("click", () => choose(i));
      return node;
    });
    element.replaceChildren(...nodes);
  }

  function draw(maps, layer, head, token) {
    nodes.forEach((node, j) => {
      const weight = j > token ? null : maps.weight(layer, head, token, j);
      node.setAttribute("aria-selected", String(j === token));
      node.tabIndex = j === token ? 0 : -1;
      node.classList.toggle("cache", weight == null);
      node.children[1].style.width = weight == null ? "0" : `${100 * Math.min(1, weight)}%`;
      node.children[2].textContent = weight == null ? "" : percent(weight).replaceAll(NBSP, "");
    });
  }

  element.addEventListener("keydown", (event) => {
    const here = nodes.indexOf(event.target.closest(".token"));
    const moves = { ArrowRight: here + 1, ArrowDown: here + 1, ArrowLeft: here - 1, ArrowUp: here - 1, Home: 0, End: nodes.length - 1 };
    if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const to = Math.max(0, Math.min(nodes.length - 1, moves[event.key]));
    choose(to);
    nodes[to].focus();
  });
  return { element, fill, draw };
}

// Les `count` tokens que `token` regarde le plus : [[place, poids], …].
export function mostWatched(maps, layer, head, token, count = 5) {
  return Array.from({ length: token + 1 }, (_, j) => [j, maps.weight(layer, head, token, j)])
    .sort((a, b) => b[1] - a[1] || a[0] - b[0])
    .slice(0, count);
}
