// Les cartes d’attention du modèle du livre, sur le texte du lecteur.
// data : { tokens: [écrits], cartes: [une chaîne base64 par tête : le triangle du bas, poids × 255],
//          couches, tetes, types: {"couche.tete": nom}, depart: [couche, tête, token] }.
// Au départ, l’exemple des données ; rien n’est téléchargé avant un clic sur « Calculer ».

import { NBSP, button, make, number, percent, plural } from "./commun/dom.js";
import { makeMatrix, makeThumbnails, makeTokenList, mostWatched } from "./modele/cartes-vues.js";
import { Model, defaultUrl, obstacle } from "./modele/model.js";
import { Tokenizer } from "./modele/tokenizer.js";
import { name as tokenName } from "./modele/tokens-vus.js";

const MOST = 64; // tokens, marque de début comprise : au-delà, plus rien ne se lit
const EXAMPLES = {
  "deux méthodes": "def get(self, key):\n    return self.data[key]\n\ndef set(self, key",
  "des parenthèses": "total = max(first(values[0]), second(values[1]))\nprint(",
  "une phrase": "La descente de gradient est une méthode. La descente de",
};
const STAGES = { telechargement: "Téléchargement", preparation: "Préparation du modèle" };

export default function attentionMaps(root, data) {
  root.append(make("style", {}, STYLE));
  root.classList.add("cartes-attention");
  root.dataset.travail = "repos";

  let maps = frozen(data);
  let [layer, head, token] = data.depart;
  let model, tokenizer, work;

  const text = make("textarea", { rows: 3, spellcheck: "false", autocapitalize: "off", autocomplete: "off" });
  text.value = EXAMPLES["deux méthodes"];
  const examples = make("p", { class: "boutons" }, "Exemples : ");
  for (const [title, value] of Object.entries(EXAMPLES)) examples.append(button(title, () => (text.value = value)));
  const compute = button("Calculer sur ce texte", () => run(), { class: "principal" });
  const stop = button("Arrêter", () => work?.abort(), { disabled: true });
  const bar = make("progress", { max: 1, value: 0, "aria-label": "Chargement du modèle" });
  const loading = make("p", { class: "chargement", hidden: true }, bar, " ", make("span"));
  const trouble = make("p", { class: "souci", role: "alert" });

  const thumbnails = makeThumbnails((l, h) => (([layer, head] = [l, h]), show()), data.types);
  const title = make("p", { class: "titre" });
  const matrix = makeMatrix((i) => ((token = i), show()));
  const list = makeTokenList((i) => ((token = i), show()));
  const top = make("ol", { class: "cinq", "aria-label": "Les plus regardés" });
  const spoken = make("p", { class: "annonce", role: "status" });
  const source = make("p", { class: "source" });
  root.append(
    make("label", { class: "texte" }, `Votre texte, de code ou de prose (${MOST}${NBSP}tokens au plus)`, text), examples,
    make("p", { class: "boutons" }, compute, stop), loading, trouble, source,
    make("div", { class: "vues" }, thumbnails.element, make("div", { class: "grande" }, title, matrix.element)),
    list.element, top, spoken);

  function replace(next, note) {
    maps = next;
    token = Math.min(token, maps.length - 1);
    source.textContent = note;
    thumbnails.fill(maps);
    list.fill(maps);
    show(false);
  }

  function show(announce = true) {
    const type = data.types[`${layer + 1}.${head + 1}`];
    title.textContent = `Couche ${layer + 1}, tête ${head + 1}${type ? ` : ${type}` : ""}`;
    thumbnails.mark(layer, head);
    matrix.draw(maps, layer, head, token);
    list.draw(maps, layer, head, token);
    const best = mostWatched(maps, layer, head, token);
    top.replaceChildren(...best.map(([j, weight]) => make("li", {}, make("code", {}, maps.names[j]), ` (place ${j + 1}) : ${percent(weight)}`)));
    Object.assign(root.dataset, { couche: layer + 1, tete: head + 1, token, longueur: maps.length });
    const said = best.map(([j, weight]) => `${maps.spoken[j]}, place ${j + 1}, ${percent(weight)}`).join(" ; ");
    if (announce) spoken.textContent = `${title.textContent}. Le token ${token + 1}, ${maps.spoken[token]}, regarde : ${said}.`;
  }
  replace(maps, `Exemple tout prêt, ${plural(maps.length, "token")} ; poids arrondis à 1/255.`);

  const problem = obstacle();
  if (problem) {
    trouble.textContent = `${problem.message} L’exemple reste explorable.`;
    root.dataset.travail = "impossible";
    compute.disabled = true;
    return;
  }

  function busy(state) {
    root.dataset.travail = state;
    const focused = document.activeElement; // un bouton désactivé perdrait le focus
    compute.disabled = state !== "repos";
    stop.disabled = state !== "charge";
    loading.hidden = state !== "charge";
    if (focused === compute && state === "charge") stop.focus();
    if ((focused === stop || focused === compute) && state === "repos") compute.focus();
  }

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
  }

  async function run() {
    if (work) return;
    work = new AbortController();
    const { signal } = work;
    trouble.textContent = "";
    busy("charge");
    try {
      await load(signal);
      busy("calcule");
      const known = tokenizer.encode(text.value);
      const ids = [tokenizer.endId, ...known.slice(0, MOST - 1)]; // un document commence par la marque de fin du précédent
      const found = await model.attention(ids);
      if (known.length >= MOST)
        trouble.textContent = `Votre texte fait ${plural(known.length, "token")} : seuls les ${MOST - 1} premiers sont montrés.`;
      token = ids.length - 1;
      replace(live(found, ids, tokenizer), `Votre texte, ${plural(ids.length, "token")}, lu par le modèle dans cette page.`);
      spoken.textContent = `Cartes calculées sur ${plural(ids.length, "token")}.`;
    } catch (error) {
      spoken.textContent = signal.aborted ? "Arrêté." : "";
      if (!signal.aborted) {
        if (!(error instanceof RangeError)) model = void model?.close();
        trouble.textContent = `${error.message} Vous pouvez recommencer ; les cartes affichées restent là.`;
      }
    }
    work = null;
    busy("repos");
  }

  root.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && work) work.abort();
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
  });
}

// Les cartes des données, et celles du modèle : même forme.
function frozen(data) {
  const triangles = data.cartes.map((packed) => Uint8Array.from(atob(packed), (c) => c.charCodeAt(0)));
  const weight = (l, h, i, j) => triangles[l * data.tetes + h][(i * (i + 1)) / 2 + j] / 255;
  return { layers: data.couches, heads: data.tetes, length: data.tokens.length, weight, names: data.tokens, spoken: data.tokens.map(aloud) };
}

function live({ layers, heads, length, data }, ids, tokenizer) {
  const names = ids.map((id) => tokenName(tokenizer, id));
  const weight = (l, h, i, j) => data[((l * heads + h) * length + i) * length + j];
  return { layers, heads, length, weight, names, spoken: names.map(aloud) };
}

const aloud = (written) =>
  written.replaceAll("␣", " ").replaceAll("↵", " fin de ligne ").replaceAll("⇥", " tabulation ").replace(/[⟨⟩]/g, "").trim() || "espaces";

const STYLE = `
.cartes-attention { font-family: var(--sans); font-size: .95rem; }
.cartes-attention label.texte { display: block; font-weight: 600; }
.cartes-attention textarea { display: block; width: 100%; box-sizing: border-box; margin-top: .3rem; padding: .5rem .6rem;
  font: .9rem/1.5 var(--mono); color: var(--text); background: var(--bg); border: 1px solid var(--muted); border-radius: 4px; resize: vertical; }
.cartes-attention .boutons { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; margin: .6rem 0; }
.cartes-attention button { padding: .3rem .7rem; color: var(--ink); background: var(--bg); border: 1px solid var(--line); border-radius: 4px; cursor: pointer; }
.cartes-attention button.principal { color: var(--bg); background: var(--ink); border-color: var(--ink); font-weight: 600; }
.cartes-attention button:disabled { color: var(--muted); background: var(--bg); border-color: var(--line); cursor: default; }
.cartes-attention progress { width: min(20rem, 60%); vertical-align: middle; accent-color: var(--ink); }
.cartes-attention .souci { color: var(--red); font-weight: 600; } .cartes-attention .souci:empty { display: none; }
.cartes-attention .source, .cartes-attention .sous-souris { color: var(--muted); font-size: .9rem; margin: .4rem 0; }
.cartes-attention .sous-souris { min-height: 3em; }
.cartes-attention .vues { display: grid; grid-template-columns: minmax(0, 15rem) minmax(0, 1fr); gap: 1rem; align-items: start; }
.cartes-attention .vignettes { display: grid; gap: 4px; }
.cartes-attention .vignettes button { padding: 2px; line-height: 1.1; font-size: .72rem; color: var(--text); }
.cartes-attention .vignettes button[aria-pressed=true] { outline: 3px solid var(--ink); outline-offset: -1px; font-weight: 700; }
.cartes-attention canvas { display: block; width: 100%; aspect-ratio: 1; image-rendering: pixelated; background: var(--code-bg); }
.cartes-attention .titre { margin: 0 0 .4rem; font-weight: 600; min-height: 1.4em; }
.cartes-attention .matrice { max-width: 22rem; }
.cartes-attention .cadre { position: relative; border: 1px solid var(--line); }
.cartes-attention .cadre canvas { cursor: pointer; }
.cartes-attention .ligne { position: absolute; left: 0; right: 0; box-sizing: border-box; border-block: 1px solid var(--ink); pointer-events: none; }
.cartes-attention .tokens { display: flex; flex-wrap: wrap; gap: 3px; margin: .8rem 0; }
.cartes-attention .token { display: inline-flex; flex-direction: column; min-width: 2.7em; padding: 2px 3px; cursor: pointer; border: 1px solid var(--line); border-radius: 3px; color: var(--text); }
.cartes-attention .token code { padding: 0; background: none; border: 0; color: inherit; font-size: .85rem; white-space: pre; text-align: center; }
.cartes-attention .token[aria-selected=true] { outline: 2px solid var(--ink); font-weight: 700; }
.cartes-attention .token.cache { color: var(--muted); border-style: dotted; }
.cartes-attention .trait { display: block; height: 5px; margin: 2px 0; background: rgb(176 100 30); }
.cartes-attention .token small { min-height: 1.2em; font-size: .72rem; line-height: 1.2; color: var(--muted); text-align: center; font-variant-numeric: tabular-nums; }
.cartes-attention .cinq { margin: .4rem 0; padding-left: 1.6em; columns: 14rem; font-variant-numeric: tabular-nums; }
.cartes-attention .annonce { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; margin: 0; }
@media (max-width: 40rem) { .cartes-attention .vues { grid-template-columns: minmax(0, 1fr); } .cartes-attention .vignettes { max-width: 17rem; } }
`;
