// Le modèle du livre écrit dans la page : amorce, réglages, texte qui vient token par token.
// Rien n’est téléchargé avant le premier clic sur « Écrire ».

import { NBSP, button, make, number, plural } from "./commun/dom.js";
import { Model, defaultUrl, obstacle } from "./modele/model.js";
import { makeSettings } from "./modele/reglages.js";
import { Tokenizer } from "./modele/tokenizer.js";
import { makeTokens } from "./modele/tokens-vus.js";

const EXAMPLES = {
  "une fonction": 'def read_lines(path):\n    """Return the lines of a text file."""\n',
  "une classe": "class Point:\n    def __init__(self, x, y):\n",
  "un test": "import unittest\n\nclass TestParser(unittest.TestCase):\n    def test_empty",
  "une phrase": "La descente de gradient est",
};
const REFRESH_MS = 80; // dessiner prend du temps au calcul : douze fois par seconde suffisent
const STAGES = { telechargement: "Téléchargement", preparation: "Préparation du modèle" };

export default function write(root) {
  root.append(make("style", {}, STYLE));
  root.classList.add("ecrire");
  root.dataset.travail = "repos";

  const prompt = make("textarea", { rows: 5, spellcheck: "false", autocapitalize: "off", autocomplete: "off" });
  prompt.value = EXAMPLES["une fonction"];
  const examples = make("p", { class: "exemples" }, "Exemples : ");
  for (const [title, text] of Object.entries(EXAMPLES)) examples.append(button(title, () => (prompt.value = text)));
  const settings = makeSettings();

  const writeButton = button("Écrire", () => begin(), { class: "principal" });
  const stopButton = button("Arrêter", () => work?.abort(), { disabled: true });
  const moreButton = button("Continuer", () => proceed(), { disabled: true });
  const clearButton = button("Effacer", () => erase(), { disabled: true });
  const otherButton = button("Autre tirage", () => (settings.nextSeed(), begin()), { disabled: true });
  const buttons = make("p", { class: "boutons" }, writeButton, stopButton, moreButton, otherButton, clearButton);

  const bar = make("progress", { max: 1, value: 0, "aria-label": "Chargement du modèle" });
  const loading = make("p", { class: "chargement", hidden: true }, bar, " ", make("span", { class: "octets" }));
  const trouble = make("p", { class: "souci", role: "alert" });
  const output = make("div", { class: "sortie" });
  const speed = make("p", { class: "vitesse" });
  const spoken = make("p", { class: "annonce", role: "status" });
  root.append(make("label", { class: "amorce-champ" }, "Votre amorce", prompt), examples, settings.element, buttons,
    loading, trouble, output, speed, spoken);

  const starters = [writeButton, moreButton, otherButton];
  let origin = writeButton; // le bouton à qui rendre le focus
  let model, tokenizer, view; // gardés d’une fois sur l’autre
  let work = null; // AbortController de ce qui est en cours
  let ids = []; // l’amorce et ce qui est écrit

  const problem = obstacle();
  if (problem) {
    trouble.textContent = problem.message;
    root.dataset.travail = "impossible";
    writeButton.disabled = true;
    const fallback = root.parentElement?.querySelector(".bible-explorable-repli");
    if (fallback) setTimeout(() => (fallback.hidden = false)); // l’exemple imprimé reste visible
    return;
  }

  function busy(state) {
    root.dataset.travail = state;
    const working = state !== "repos";
    const focused = document.activeElement; // un bouton désactivé perdrait le focus
    for (const one of [writeButton, otherButton, clearButton]) one.disabled = working;
    moreButton.disabled = working || !canContinue();
    if (!working) otherButton.disabled = clearButton.disabled = !ids.length;
    loading.hidden = state !== "charge";
    if (working) stopButton.disabled = false;
    if (working && starters.includes(focused)) [origin] = [focused, stopButton.focus()];
    if (!working && focused === stopButton) (origin.disabled ? writeButton : origin).focus();
    if (!working) stopButton.disabled = true;
  }

  const canContinue = () => model && ids.length > 0 && ids.length < model.context && ids.at(-1) !== tokenizer.endId;

  async function load(signal) {
    if (model) return;
    busy("charge");
    spoken.textContent = "Chargement du modèle.";
    const onProgress = ({ stage, loaded, total }) => {
      bar.value = loaded / total;
      loading.lastChild.textContent = `${STAGES[stage]} : ${number(loaded / 1e6, 1)} sur ${number(total / 1e6, 1)}${NBSP}Mo`;
    };
    tokenizer ??= await Tokenizer.load(defaultUrl);
    model = await Model.load(defaultUrl, { onProgress, signal });
    view ??= makeTokens(tokenizer);
    output.replaceChildren(view.element);
  }

  // Tout recommencer depuis l’amorce.
  const begin = () =>
    run(async (signal) => {
      const text = prompt.value;
      const known = tokenizer.encode(text);
      const most = Math.max(1, model.context - 1 - settings.length());
      const kept = known.slice(-most);
      if (kept.length < known.length)
        trouble.textContent = `L’amorce fait ${plural(known.length, "token")} : seuls les ${number(most)} derniers tiennent dans le contexte du modèle.`;
      ids = [tokenizer.endId, ...kept]; // un document commence par la marque de fin du précédent
      view.clear(kept.length < known.length ? `…${tokenizer.decode(kept)}` : text);
      await extend(signal);
    });

  const proceed = () => run(extend);

  async function extend(signal) {
    busy("ecrit");
    const start = performance.now();
    const options = { maxTokens: settings.length(), sampling: settings.sampling(), seed: settings.seed(), signal };
    let count = 0;
    let first;
    let shown = 0;
    const show = (isLast) => {
      const now = performance.now();
      first ??= now;
      if (!isLast && now - shown < REFRESH_MS) return;
      shown = now;
      view.flush();
      const rate = count > 1 ? (1000 * (count - 1)) / (now - first) : 0;
      Object.assign(root.dataset, { premier: (first - clicked).toFixed(0), debit: rate.toFixed(1), tokens: count });
      speed.textContent =
        `${plural(count, "token")} en ${number((now - start) / 1000, 1)}${NBSP}s` +
        (rate ? `, ${number(rate)}${NBSP}tokens/s` : "") +
        `. Premier token ${number((first - clicked) / 1000, 1)}${NBSP}s après le clic.`;
    };
    try {
      for await (const token of model.generate([...ids], options)) {
        ids.push(token.id);
        view.add(token);
        count += 1;
        show(false);
      }
    } finally {
      if (count) show(true);
    }
  }

  let clicked = 0;
  async function run(task) {
    if (work) return;
    clicked = performance.now();
    work = new AbortController();
    const { signal } = work;
    trouble.textContent = spoken.textContent = "";
    busy(model ? "ecrit" : "charge");
    let ending = "Écriture terminée.";
    try {
      await load(signal);
      await task(signal);
      if (ids.at(-1) === tokenizer.endId) ending = "Le modèle a fini son document.";
      else if (ids.length >= model.context) ending = "Le contexte du modèle est plein.";
    } catch (error) {
      ending = signal.aborted ? "Arrêté." : "";
      if (!signal.aborted) complain(error);
    }
    work = null;
    busy("repos");
    if (ending) spoken.textContent = `${ending} ${view?.text() ?? ""}`; // une annonce, à la fin
    root.dataset.fin = ending;
  }

  // Une panne se dit, et rien n’est perdu : le bouton recharge ce qui manque.
  function complain(error) {
    if (error instanceof RangeError) return (trouble.textContent = error.message);
    model?.close();
    model = undefined;
    trouble.textContent = `${error.message} Vous pouvez recommencer.`;
  }

  function erase() {
    ids = [];
    view?.clear();
    speed.textContent = trouble.textContent = spoken.textContent = "";
    busy("repos");
    prompt.focus();
  }

  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && work) work.abort();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) begin();
  });
}

const STYLE = `
.ecrire { font-family: var(--sans); font-size: .95rem; }
.ecrire textarea { display: block; width: 100%; box-sizing: border-box; margin-top: .3rem; padding: .5rem .6rem;
  font: .9rem/1.5 var(--mono); color: var(--text); background: var(--bg); border: 1px solid var(--muted); border-radius: 4px; resize: vertical; }
.ecrire label.amorce-champ { display: block; font-weight: 600; }
.ecrire button { padding: .3rem .7rem; color: var(--ink); background: var(--bg); border: 1px solid var(--ink); border-radius: 4px; cursor: pointer; }
.ecrire button.principal { color: var(--bg); background: var(--ink); font-weight: 600; }
.ecrire button:disabled { color: var(--muted); background: var(--bg); border-color: var(--line); cursor: default; }
.ecrire .exemples, .ecrire .boutons { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; margin: .7rem 0; }
.ecrire .exemples button { border-color: var(--line); }
.ecrire .reglages { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: .5rem 1.2rem; margin: 0; padding: .6rem .8rem .8rem; border: 1px solid var(--line); border-radius: 4px; }
.ecrire .reglages legend { font-weight: 600; padding: 0 .3rem; }
.ecrire .reglages label { display: grid; grid-template-columns: 1fr 5.5rem 4.6rem; gap: .5rem; align-items: center; }
.ecrire .reglages label.glouton { grid-template-columns: auto 1fr; }
.ecrire .reglages [type=number] { width: 100%; box-sizing: border-box; color: var(--text); background: var(--bg); border: 1px solid var(--muted); border-radius: 4px; padding: .15rem .3rem; }
.ecrire .reglages [type=range] { width: 100%; min-width: 0; }
.ecrire .valeur { color: var(--muted); font-variant-numeric: tabular-nums; }
.ecrire progress { width: min(20rem, 60%); vertical-align: middle; accent-color: var(--ink); }
.ecrire .souci { color: var(--red); font-weight: 600; } .ecrire .souci:empty, .ecrire .vitesse:empty { display: none; }
.ecrire .ecrit { margin: .8rem 0; padding: .7rem .8rem; font: .92rem/1.9 var(--mono); white-space: pre-wrap; overflow-wrap: anywhere; background: var(--code-bg); border: 1px solid var(--line); border-radius: 4px; min-height: 1.9em; }
.ecrire .ecrit .amorce { color: var(--muted); }
.ecrire .jeton { padding: .1em 0; cursor: pointer; border-bottom: 2px solid transparent; color: var(--text); font-family: var(--mono); }
.ecrire .jeton.probable { border-bottom-style: dotted; border-bottom-color: var(--muted); }
.ecrire .jeton.possible { border-bottom-style: dashed; border-bottom-color: var(--ochre); background: color-mix(in srgb, var(--ochre) 9%, transparent); }
.ecrire .jeton.rare { border-bottom: 3px double var(--ochre); background: color-mix(in srgb, var(--ochre) 20%, transparent); }
.ecrire .jeton[aria-selected=true] { outline: 2px solid var(--ink); outline-offset: 1px; }
.ecrire .retour { color: var(--muted); font-size: .8em; }
.ecrire .legende { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: .4rem 0; padding: 0; list-style: none; font-size: .85rem; color: var(--muted); }
.ecrire .legende .jeton { cursor: default; }
.ecrire .aide, .ecrire .vitesse { color: var(--muted); font-size: .9rem; margin: .4rem 0; }
.ecrire table.concurrents { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
.ecrire .concurrents caption { text-align: left; color: var(--muted); font-size: .9rem; padding-bottom: .3rem; }
.ecrire .concurrents th, .ecrire .concurrents td { text-align: left; padding: .15rem .6rem .15rem 0; border-bottom: 1px solid var(--line); font-weight: 400; white-space: nowrap; }
.ecrire .concurrents thead th { font-weight: 600; }
.ecrire .concurrents td:nth-child(2) { width: 55%; }
.ecrire .concurrents .choisi { font-weight: 600; } .ecrire .concurrents .choisi th { font-weight: 600; }
.ecrire .chiffre { display: inline-block; width: 4.2rem; }
.ecrire .jauge { display: inline-block; height: .6rem; max-width: calc(100% - 5rem); background: var(--series-1); vertical-align: middle; }
.ecrire .annonce { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; margin: 0; }
`;
