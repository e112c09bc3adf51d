// Fabriquer des éléments, écrire les nombres en français : ce que partagent les figures.

export const NBSP = "\u00a0";

// make("p", { class: "note" }, "texte", enfant) ; un attribut à false ou null est omis.
export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (value !== false && value != null) node.setAttribute(name, value === true ? "" : value);
  node.append(...children);
  return node;
}

// svgNode("path", { d: "M0 0" }) : le même, pour un élément de dessin.
export function svgNode(tag, attributes = {}) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

export function svgText(x, y, content, anchor, size) {
  const node = svgNode("text", { x, y, "text-anchor": anchor, "font-size": size });
  node.textContent = content;
  return node;
}

export const number = (x, digits = 0) =>
  x.toLocaleString("fr-FR", { minimumFractionDigits: digits, maximumFractionDigits: digits });

// 0,4567 → « 46 % » ; sous 10 %, une décimale ; un nul exact se distingue d’un très petit.
export function percent(p) {
  if (p > 0 && p < 0.0005) return `<${NBSP}0,1${NBSP}%`;
  return `${number(100 * p, p > 0 && p < 0.0995 ? 1 : 0)}${NBSP}%`;
}

export const plural = (n, word) => `${number(n)}${NBSP}${word}${n > 1 ? "s" : ""}`;

// Un curseur : {element, input, value(), set(x)} ; text(x) dit sa valeur, à l’œil et au lecteur d’écran.
export function slider(title, { min, max, step, value }, text) {
  const input = make("input", { type: "range", min, max, step, value });
  const shown = make("span", { class: "valeur", "aria-hidden": "true" });
  const show = () => {
    shown.textContent = text(Number(input.value));
    input.setAttribute("aria-valuetext", shown.textContent);
  };
  input.addEventListener("input", show);
  show();
  const set = (x) => {
    input.value = x;
    show();
  };
  const element = make("label", {}, make("span", {}, title), input, shown);
  return { element, input, set, value: () => Number(input.value) };
}

export const button = (title, onClick, attributes = {}) => {
  const node = make("button", { type: "button", ...attributes }, title);
  node.addEventListener("click", onClick);
  return node;
};
