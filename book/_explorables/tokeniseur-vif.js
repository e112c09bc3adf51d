// Un tokeniseur qui travaille dans la page : le lecteur écrit, ses tokens paraissent, et un mot montre
// ses fusions l’une après l’autre. Rien n’est demandé au réseau avant que le lecteur ne le demande.

import { NBSP, make, number } from "./commun/dom.js";

const FOLDER = new URL("../modele/nano/", import.meta.url);
const KILOBYTES = 125; // taille de tokenizer.json, contrôlée par un test
const DRAWN = 400; // tokens dessinés ; au-delà, ils sont comptés seulement
const EXAMPLE = "La tokenisation coupe un texte en morceaux.\nfor i in range(10): print(i)";
const INKS = ["--ink", "--ochre", "--green", "--muted"];
const VISIBLE = { " ": "·", "\n": "⏎", "\t": "⇥", "\r": "␍" };

const STYLE = `
.vif-texte { display: block; width: 100%; margin: .2rem 0 .5rem; min-height: 5.5rem; padding: .5rem; font-family: var(--mono);
  font-size: .95rem; color: var(--text); background: var(--bg); border: 1px solid var(--muted); }
.vif-bouton { padding: .3rem .7rem; color: var(--ink); background: var(--bg); border: 1px solid var(--ink); cursor: pointer; }
ol.vif-tokens.vif-tokens { display: flex; flex-wrap: wrap; gap: .25rem; margin: .5rem 0; padding: 0; list-style: none; }
.vif-tokens li { margin: 0; }
.vif-token { display: inline-block; min-height: 1.8rem; padding: .1rem .3rem; font-family: var(--mono);
  font-size: .9rem; overflow-wrap: anywhere; white-space: pre-wrap; color: var(--text);
  background: color-mix(in srgb, var(--vif-encre) 12%, var(--bg)); border: 1px solid var(--vif-encre); }
button.vif-token { cursor: pointer; }
.vif-token[aria-pressed="true"] { border-width: 1px 1px 4px; }
.vif-marque { border-style: double; border-width: 3px; }
.vif-chiffres { display: flex; flex-wrap: wrap; gap: .2rem 1.5rem; margin: .5rem 0; padding: 0; }
.vif-chiffres div { display: flex; gap: .4rem; }
.vif-chiffres dt { margin: 0; font-weight: normal; }
.vif-chiffres dd { margin: 0; font-weight: 600; }
.vif-fusions label { display: flex; flex-wrap: wrap; }
.vif-fusions input { flex: 1 1 10rem; }`;

export default function start(root) {
  const style = make("style", {}, STYLE);
  const label = make("label", { for: "vif-texte" }, "Votre texte");
  const field = make("textarea", { id: "vif-texte", class: "vif-texte", rows: 3, spellcheck: "false", autocomplete: "off" });
  field.value = EXAMPLE;
  const load = make("button", { type: "button", class: "vif-bouton" }, `Charger le tokeniseur (≈${NBSP}${KILOBYTES}${NBSP}ko)`);
  const opening = make("p", {}, load);
  const status = make("p", { role: "status" }, "Rien n’est chargé avant votre demande.");
  const work = make("div", { hidden: "" });
  root.append(style, label, field, opening, status, work);

  let loading = null;
  const ask = () => { loading ??= open(); };

  async function open() {
    load.disabled = true;
    status.textContent = "Chargement…";
    try {
      const { Tokenizer } = await import(new URL("./modele/tokenizer.js", import.meta.url));
      const tokenizer = await Tokenizer.load(FOLDER);
      opening.hidden = true;
      work.hidden = false;
      build(work, field, status, tokenizer);
      if ([load, document.body].includes(document.activeElement)) field.focus();
    } catch (error) {
      loading = null; // un nouvel essai est possible
      load.disabled = false;
      status.textContent = `Le tokeniseur n’a pas pu être chargé${NBSP}: ${error.message}. Vous pouvez réessayer.`;
    }
  }

  load.addEventListener("click", ask);
  field.addEventListener("input", ask, { once: true }); // écrire, c’est demander
}

function build(work, field, status, tokenizer) {
  const marks = make("input", { type: "checkbox" });
  const option = make("label", {}, marks, " Lire les marques spéciales écrites dans le texte");
  const figures = make("dl", { class: "vif-chiffres" });
  const list = make("ol", { class: "vif-tokens", "aria-label": "Tokens du texte ; flèches pour passer de l’un à l’autre" });
  const detail = make("p", { class: "vif-detail" });
  const merges = makeMerges(tokenizer);
  work.append(option, figures, list, detail, merges.root);
  let tokens = [], chosen = 0;

  function update() {
    const text = field.value;
    tokens = tokensOf(tokenizer, text, marks.checked);
    const bytes = tokens.reduce((sum, { id }) => sum + tokenizer.tokenBytes(id).length, 0);
    const ratio = tokens.length ? number(bytes / tokens.length, 2) : "–";
    const counts = [["octets", bytes], ["caractères", [...text].length], ["tokens", tokens.length], ["octets par token", ratio]];
    figures.replaceChildren(...counts.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, String(value)))));
    const hidden = tokens.length - DRAWN;
    status.textContent = `${plural(tokens.length, "token")} pour ${plural(bytes, "octet")}.` +
      (hidden > 0 ? ` Les ${DRAWN} premiers sont dessinés.` : "");
    list.replaceChildren(...tokens.slice(0, DRAWN).map((token, i) => make("li", {}, tokenButton(token, i))));
    choose(Math.max(0, longestWord(tokens)));
  }

  function tokenButton({ id, word }, i) {
    const button = make("button", { type: "button", class: "vif-token", tabindex: -1, "data-id": id }, show(tokenizer, id));
    button.style.setProperty("--vif-encre", `var(${INKS[i % INKS.length]})`);
    if (word === null) button.classList.add("vif-marque");
    button.setAttribute("aria-label", describe(tokenizer, id));
    return button;
  }

  function choose(i, focus = false) {
    const buttons = list.querySelectorAll("button");
    buttons[chosen]?.setAttribute("tabindex", -1);
    buttons.forEach((button, k) => button.setAttribute("aria-pressed", k === i));
    chosen = i;
    detail.textContent = buttons.length ? `${describe(tokenizer, tokens[i].id)}.` : "Écrivez quelque chose.";
    buttons[i]?.setAttribute("tabindex", 0);
    if (focus) buttons[i]?.focus();
    merges.open(tokens[i]?.word ?? "");
  }

  list.addEventListener("click", ({ target }) => {
    const button = target.closest("button");
    if (button) choose([...list.querySelectorAll("button")].indexOf(button));
  });
  list.addEventListener("keydown", (event) => {
    const last = Math.min(tokens.length, DRAWN) - 1;
    const next = { ArrowRight: chosen + 1, ArrowLeft: chosen - 1, Home: 0, End: last }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    choose(Math.min(last, Math.max(0, next)), true);
  });
  field.addEventListener("input", update);
  marks.addEventListener("change", update);
  update();
}

// Les fusions d’un mot, une par une : un curseur, l’état du mot, une phrase.
function makeMerges(tokenizer) {
  const slider = make("input", { type: "range", min: 0, max: 0, step: 1, value: 0 });
  const name = make("span");
  const state = make("ol", { class: "vif-tokens", "aria-label": "Le mot à cette étape" });
  const sentence = make("p", { class: "vif-fusion" });
  const root = make("div", { class: "vif-fusions" }, make("label", {}, name, slider), state, sentence);
  let states = [];

  function update() {
    const n = Number(slider.value);
    const { ids, rank } = states[n];
    const pieces = ids.map((id) => show(tokenizer, id));
    state.replaceChildren(...pieces.map((text, i) => {
      const box = make("li", { class: "vif-token" }, text);
      box.style.setProperty("--vif-encre", `var(${INKS[i % INKS.length]})`);
      return box;
    }));
    const size = `${plural(ids.length, "morceau", "morceaux")}.`;
    sentence.textContent = n === 0
      ? `Départ${NBSP}: un morceau par octet, soit ${size}`
      : `Fusion ${n} sur ${states.length - 1}${NBSP}: ${pairText(tokenizer, rank)}, apprise au rang ${rank}. Restent ${size}`;
    slider.setAttribute("aria-valuetext", sentence.textContent);
  }

  slider.addEventListener("input", update);
  return {
    root,
    open(word) {
      root.hidden = word === "";
      if (word === "") return;
      states = tokenizer.steps(word);
      name.textContent = `Fusions du mot «${NBSP}${visible(word)}${NBSP}»`;
      slider.max = states.length - 1;
      slider.value = states.length - 1;
      slider.disabled = states.length === 1;
      update();
    },
  };
}

// Les tokens, chacun avec le mot d’où il vient ; null pour une marque.
export function tokensOf(tokenizer, text, specials) {
  const parts = specials && tokenizer.marks ? text.split(tokenizer.marks) : [text];
  return parts.flatMap((part, i) => i % 2
    ? [{ id: tokenizer.specials.get(part), word: null }]
    : tokenizer.words(part).flatMap((word) => tokenizer.encodeWord(word).map((id) => ({ id, word }))));
}

// Place du premier token du mot le plus long parmi ceux qui sont dessinés ; -1 s’il n’y en a pas.
function longestWord(tokens) {
  const lengths = tokens.slice(0, DRAWN).map(({ word }) => word?.length ?? 0);
  return lengths.indexOf(Math.max(...lengths));
}

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).toUpperCase().padStart(2, "0")).join(" ");
const visible = (text) => text.replace(/[ \n\t\r]/g, (char) => VISIBLE[char]);

// Le texte d’un token, ou ses octets quand ils ne font pas un caractère.
function show(tokenizer, id) {
  const bytes = tokenizer.tokenBytes(id);
  try {
    return visible(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return `⟨${hex(bytes)}⟩`;
  }
}

function describe(tokenizer, id) {
  const bytes = tokenizer.tokenBytes(id), rank = tokenizer.rank(id);
  const origin = rank !== null ? `né de la fusion de rang ${rank}, ${pairText(tokenizer, rank)}`
    : bytes.length === 1 ? "un octet, présent avant toute fusion" : "une marque spéciale";
  return `Token «${NBSP}${show(tokenizer, id)}${NBSP}», numéro ${id}, ` +
    `${bytes.length > 1 ? "octets" : "octet"} ${hex(bytes)}, ${origin}`;
}

const pairText = (tokenizer, rank) =>
  tokenizer.pairs[rank].map((id) => `«${NBSP}${show(tokenizer, id)}${NBSP}»`).join(" + ");

const plural = (n, one, many = `${one}s`) => `${n}${NBSP}${n > 1 ? many : one}`;
