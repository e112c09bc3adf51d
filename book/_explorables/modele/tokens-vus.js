// Le texte écrit, token par token : chacun porte la marque de sa probabilité, et montre ses concurrents.
//
// Un seul arrêt de tabulation ; les flèches passent d’un token à l’autre. La marque est un trait (plein,
// tirets, points) autant qu’une teinte : elle se lit sans la couleur.

import { make, percent } from "../commun/dom.js";

// Les paliers, du plus sûr au plus risqué : probabilité minimale, nom de classe, ce qu’ils veulent dire.
const LEVELS = [
  [0.5, "sur", "au moins une chance sur deux"],
  [0.2, "probable", "de 20 à 50 %"],
  [0.05, "possible", "de 5 à 20 %"],
  [0, "rare", "moins de 5 %"],
];

// {element, add(token), flush(), clear(), text()} ; tokenizer : tokenBytes(id), endId.
export function makeTokens(tokenizer) {
  const prompt = make("span", { class: "amorce" });
  const list = make("span", { role: "listbox", "aria-label": "Texte écrit, token par token", "aria-orientation": "horizontal", hidden: true });
  const board = make("div", { class: "ecrit", translate: "no" }, prompt, list);
  const table = make("table", { class: "concurrents", hidden: true });
  const help = make("p", { class: "aide", hidden: true }, "Choisissez un token (au clavier : tabulation, puis les flèches) pour voir ses concurrents.");
  const legend = make("ul", { class: "legende", "aria-label": "Marques de probabilité" });
  for (const [, name, meaning] of LEVELS) legend.append(make("li", {}, make("span", { class: `jeton ${name}` }, "token"), ` ${meaning}`));

  const waiting = document.createDocumentFragment();
  let decoder, tokens, written;

  function clear(text = "") {
    decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    tokens = [];
    written = "";
    prompt.textContent = text;
    for (const part of [list, waiting]) part.replaceChildren();
    for (const part of [list, table, help]) part.hidden = true;
  }

  // token : ce que rend model.generate.
  function add(token) {
    const text = token.id === tokenizer.endId ? "" : decoder.decode(tokenizer.tokenBytes(token.id), { stream: true });
    written += text;
    const node = make("span", {
      role: "option",
      class: `jeton ${LEVELS.find(([least]) => token.probability >= least)[1]}`,
      tabindex: tokens.length ? "-1" : "0",
      "aria-selected": "false",
      "aria-label": `${spoken(tokenizer, token.id)}, ${percent(token.probability)}`,
    });
    node.append(...visible(text || name(tokenizer, token.id)));
    tokens.push({ ...token, node });
    waiting.append(node);
  }

  // Montre les tokens ajoutés depuis la dernière fois.
  function flush() {
    list.append(waiting);
    list.hidden = help.hidden = !tokens.length;
  }

  function choose(index, focus = true) {
    const chosen = tokens[index];
    if (!chosen) return;
    for (const { node } of tokens) {
      node.setAttribute("aria-selected", String(node === chosen.node));
      node.tabIndex = node === chosen.node ? 0 : -1;
    }
    showRivals(table, chosen, tokenizer);
    if (focus) chosen.node.focus();
  }

  const indexOf = (target) => tokens.findIndex(({ node }) => node.contains(target));
  list.addEventListener("click", (event) => choose(indexOf(event.target)));
  list.addEventListener("focusin", (event) => choose(indexOf(event.target), false));
  list.addEventListener("keydown", (event) => {
    const here = indexOf(event.target);
    const moves = { ArrowRight: here + 1, ArrowDown: here + 1, ArrowLeft: here - 1, ArrowUp: here - 1, Home: 0, End: tokens.length - 1 };
    if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    choose(Math.max(0, Math.min(tokens.length - 1, moves[event.key])));
  });

  clear();
  return { element: make("div", {}, board, legend, help, table), add, flush, clear, text: () => written, ids: () => tokens.map(({ id }) => id) };
}

function showRivals(table, { id, probability, sampled, top }, tokenizer) {
  const rows = top.some(([other]) => other === id) ? top : [...top, [id, probability, sampled]];
  const head = make("tr", {}, ...["token", "modèle", "après réglages"].map((title) => make("th", { scope: "col" }, title)));
  const body = rows.map(([other, p, q]) => {
    const gauge = make("span", { class: "jauge", "aria-hidden": "true" });
    gauge.style.width = `${Math.max(1, Math.round(100 * p))}%`;
    const mark = other === id ? " ← choisi" : "";
    return make("tr", mark ? { class: "choisi" } : {},
      make("th", { scope: "row" }, make("code", {}, name(tokenizer, other)), mark),
      make("td", {}, make("span", { class: "chiffre" }, percent(p)), gauge),
      make("td", {}, q > 0 ? percent(q) : "écarté"));
  });
  const caption = make("caption", {}, "Les plus probables à cette place, et ce que les réglages en ont fait");
  table.replaceChildren(caption, make("thead", {}, head), make("tbody", {}, ...body));
  table.hidden = false;
}

// Les blancs se voient : « ␣ » pour une espace, « ↵ » pour une fin de ligne ; octets d’un caractère coupé.
export function name(tokenizer, id) {
  if (id === tokenizer.endId) return "⟨fin⟩";
  const bytes = tokenizer.tokenBytes(id);
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    return text.replaceAll(" ", "␣").replaceAll("\n", "↵").replaceAll("\t", "⇥").replaceAll("\r", "␍");
  } catch {
    return `⟨${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ")}⟩`;
  }
}

function spoken(tokenizer, id) {
  const words = name(tokenizer, id).replaceAll("␣", " ").replaceAll("↵", " fin de ligne ").replaceAll("⇥", " tabulation ");
  return words.trim() || "espaces";
}

// Une fin de ligne garde son effet, précédée d’une flèche discrète.
function visible(text) {
  return text.split(/(\n)/).filter(Boolean).flatMap((part) =>
    part === "\n" ? [make("span", { class: "retour", "aria-hidden": "true" }, "↵"), part] : [part]);
}
