// Le jeu de Shannon (1951) : deviner la lettre suivante, compter les essais, en tirer un encadrement
// de l’entropie. data.phrases : {texte, debut, essais}, les essais étant ceux du modèle de la page.

const MINIMUM = 10; // lettres avant de montrer une estimation
const NBSP = "\u00a0";

const make = (tag, attributes = {}, text = "") => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.textContent = text;
  return node;
};

const name = (letter) => (letter === " " ? "espace" : letter);
const plural = (n, word) => `${n}${NBSP}${word}${n > 1 ? "s" : ""}`;
const decimal = (x) => x.toFixed(1).replace(".", ",");

// Une lettre tapée, ramenée à l’alphabet : sans accent ni majuscule ; null si elle n’y est pas.
export function fold(typed, alphabet) {
  const letter = typed.toLowerCase().normalize("NFD")[0] ?? "";
  return letter !== "" && alphabet.includes(letter) ? letter : null;
}

// Encadrement de l’entropie, en bits par lettre, par les nombres d’essais.
export function bounds(guesses, size) {
  const q = new Array(size + 1).fill(0);
  for (const n of guesses) q[n - 1] += 1 / guesses.length;
  const high = q.reduce((sum, x) => (x > 0 ? sum - x * Math.log2(x) : sum), 0);
  q.sort((a, b) => b - a); // le joueur idéal : ses premiers essais sont les plus souvent justes
  let low = 0;
  for (let i = 1; i <= size; i += 1) low += i * (q[i - 1] - q[i]) * Math.log2(i);
  return [low, high];
}

export default function start(root, data) {
  const { alphabet, phrases } = data;
  const mine = []; // nombres d’essais du lecteur, toutes phrases confondues
  const model = []; // ceux du modèle, sur les mêmes lettres
  let turn = 0;
  let position = 0;
  let tried = new Set();

  const intro = make("p", { class: "jeu-consigne", id: "jeu-consigne" },
    "Tapez la lettre que vous croyez venir. La barre d’espace compte comme une lettre.");
  const board = make("p", { class: "jeu-phrase", lang: "fr" });
  board.style.cssText =
    "font-family: var(--mono); font-size: 1.05rem; overflow-wrap: anywhere; white-space: pre-wrap;";
  const label = make("label", { for: "jeu-lettre" }, "Lettre suivante");
  const field = make("input", {
    id: "jeu-lettre", type: "text", size: "3", autocomplete: "off", autocapitalize: "none",
    autocorrect: "off", spellcheck: "false", "aria-describedby": "jeu-consigne jeu-essayees",
  });
  field.style.cssText =
    "font: inherit; font-family: var(--mono); text-align: center; padding: 0.3rem;" +
    "color: var(--text); background: var(--bg); border: 1px solid var(--muted);";
  const next = make("button", { type: "button" }, "Phrase suivante");
  const restart = make("button", { type: "button" }, "Recommencer");
  for (const button of [next, restart])
    button.style.cssText =
      "font: inherit; padding: 0.3rem 0.7rem; color: var(--ink); background: var(--bg);" +
      "border: 1px solid var(--ink); cursor: pointer;";
  const controls = make("p");
  controls.style.cssText = "display: flex; flex-wrap: wrap; gap: 0.8rem; align-items: center;";
  label.append(" ", field);
  controls.append(label, next, restart);
  const missed = make("p", { id: "jeu-essayees", class: "jeu-essayees" });
  const status = make("p", { role: "status", "aria-live": "polite", class: "jeu-message" });
  const table = make("table", { class: "jeu-bilan" });
  root.append(intro, board, controls, missed, status, table);

  const phrase = () => phrases[turn % phrases.length];
  const done = () => position >= phrase().texte.length;

  function show() {
    const text = phrase().texte;
    board.textContent = text.slice(0, position) + (done() ? "" : "▁");
    missed.textContent = tried.size
      ? `Déjà essayées${NBSP}: ${[...tried].map(name).join(", ")}`
      : `Aucune lettre essayée`;
    field.disabled = done();
    table.hidden = mine.length === 0;
    table.replaceChildren(
      row("th", ["", "lettres", "au premier essai", "bits par lettre"]),
      row("td", ["vous", ...summary(mine)]),
      row("td", ["le modèle", ...summary(model)]),
    );
  }

  function row(tag, cells) {
    const line = make("tr");
    cells.forEach((text, i) => {
      const head = tag === "th" || i === 0;
      const scope = tag === "th" ? "col" : "row";
      line.append(make(head && text ? "th" : "td", head && text ? { scope } : {}, text));
    });
    return line;
  }

  function summary(guesses) {
    const first = guesses.filter((n) => n === 1).length;
    const share = guesses.length ? Math.round((100 * first) / guesses.length) : 0;
    const [low, high] = guesses.length ? bounds(guesses, alphabet.length) : [0, 0];
    const missing = MINIMUM - guesses.length;
    const estimate =
      missing > 0 ? `encore ${plural(missing, "lettre")}` : `entre ${decimal(low)} et ${decimal(high)}`;
    return [String(guesses.length), `${share}${NBSP}%`, estimate];
  }

  function guess(letter) {
    if (tried.has(letter)) {
      status.textContent = `Vous avez déjà essayé ${name(letter)}.`;
      return;
    }
    const { texte, debut, essais } = phrase();
    if (letter !== texte[position]) {
      tried.add(letter);
      status.textContent = `Non, pas ${name(letter)}.`;
      return;
    }
    const count = tried.size + 1;
    mine.push(count);
    model.push(essais[position - debut]);
    status.textContent =
      `Oui, ${name(letter)}, en ${plural(count, "essai")}. ` +
      `Le modèle${NBSP}: ${plural(essais[position - debut], "essai")}.`;
    position += 1;
    tried = new Set();
    if (done()) status.textContent += " Phrase terminée.";
  }

  function open(number) {
    turn = number;
    position = phrase().debut;
    tried = new Set();
  }

  field.addEventListener("input", (event) => {
    if (event.isComposing) return; // un accent en cours de frappe
    const typed = field.value;
    field.value = "";
    if (typed === "" || done()) return;
    const letter = fold(typed.slice(-1), alphabet);
    if (letter === null) status.textContent = "Une lettre de a à z, ou l’espace.";
    else guess(letter);
    show();
    if (done()) next.focus();
  });
  field.addEventListener("compositionend", () => field.dispatchEvent(new Event("input")));
  next.addEventListener("click", () => {
    open(turn + 1);
    status.textContent = `Phrase ${(turn % phrases.length) + 1} sur ${phrases.length}.`;
    show();
    field.focus();
  });
  restart.addEventListener("click", () => {
    mine.length = 0;
    model.length = 0;
    open(0);
    status.textContent = "Partie recommencée.";
    show();
    field.focus();
  });
  open(0);
  show();
}
