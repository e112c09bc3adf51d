// Ma progression : les quiz faits dans ce navigateur, les exercices faits sur cette machine.

const PREFIX = "bible:quiz:";
const LOCAL = ["127.0.0.1", "localhost", "[::1]"];

function element(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className) node.className = className;
  return node;
}

function link(item, text = item.title) {
  const a = element("a", text);
  a.href = item.url;
  return a;
}

// Un tableau : des titres de colonnes, puis des lignes de textes ou d’éléments.
function table(caption, headers, rows) {
  const frame = element("div", undefined, "bible-tableau");
  frame.tabIndex = 0;
  frame.setAttribute("role", "group");
  frame.setAttribute("aria-label", caption);
  const node = element("table");
  node.append(element("caption", caption));
  const head = node.createTHead().insertRow();
  for (const header of headers) {
    const th = element("th", header);
    th.scope = "col";
    head.append(th);
  }
  const body = node.createTBody();
  for (const row of rows) {
    const tr = body.insertRow();
    for (const cell of row) tr.insertCell().append(cell);
  }
  frame.append(node);
  return frame;
}

function quizState(label) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + label));
  } catch {
    return null;
  }
}

function state(text, done) {
  return element("span", text, done ? "bible-fait" : "bible-a-faire");
}

function quizRow(item) {
  const name = link(item, item.title === "Quiz" ? item.page : `${item.page}, ${item.title}`);
  const found = quizState(item.label);
  if (!found?.faites) return [name, state("à faire", false)];
  const complete = found.faites === item.questions;
  const text = complete
    ? `fait, ${found.score} sur ${item.questions}`
    : `commencé, ${found.faites} question${found.faites > 1 ? "s" : ""} sur ${item.questions}`;
  return [name, state(text, complete)];
}

function eraseButton(refresh) {
  const box = element("p");
  const erase = element("button", "Effacer mes quiz", "bible-bouton");
  const cancel = element("button", "Annuler", "bible-bouton");
  const status = element("span");
  status.setAttribute("role", "status");
  erase.type = cancel.type = "button";
  cancel.hidden = true;
  const rest = () => {
    erase.textContent = "Effacer mes quiz";
    cancel.hidden = true;
  };
  erase.addEventListener("click", () => {
    if (cancel.hidden) {
      erase.textContent = "Confirmer l’effacement";
      cancel.hidden = false;
      return;
    }
    try {
      Object.keys(localStorage)
        .filter((key) => key.startsWith(PREFIX))
        .forEach((key) => localStorage.removeItem(key));
    } catch {
      /* stockage refusé : rien à effacer */
    }
    rest();
    refresh();
    status.textContent = " Les réponses des quiz sont effacées.";
  });
  cancel.addEventListener("click", () => {
    rest();
    erase.focus();
  });
  box.append(erase, " ", cancel, status);
  return box;
}

// Le fichier de llmbook.exercise, ou null quand la page n’est pas servie par « make livre ».
async function exerciseProgress() {
  if (!LOCAL.includes(location.hostname)) return null;
  try {
    const answer = await fetch("/progression.json", { cache: "no-store" });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

function exerciseState(progress, label) {
  const found = progress.exercises?.[label];
  if (found?.passed) return state("réussi", true);
  return state(found?.attempts ? "tenté" : "à faire", false);
}

async function start(root) {
  const { quiz, exercices } = JSON.parse(root.querySelector("script").textContent);
  const main = element("div");
  const progress = await exerciseProgress();

  function draw() {
    const rows = quiz.map(quizRow);
    main.replaceChildren(table("Quiz", ["Quiz de la page", "État"], rows));
  }

  draw();
  const below = element("div");
  below.append(eraseButton(draw));
  if (progress) {
    below.append(table(
      "Exercices",
      ["Exercice", "Page", "Niveau", "Minutes", "État"],
      exercices.map((e) => [link(e), e.page, e.level, String(e.minutes),
        exerciseState(progress, e.label)]),
    ));
    const note = element("p", "Pour oublier la progression des exercices, tapez ");
    note.append(element("code", "python -m llmbook.exercise --remise-a-zero"), ".");
    below.append(note);
  } else {
    const note = element("p", undefined, "bible-progression-note");
    note.append(
      "La progression de vos exercices est dans un fichier de votre machine, que cette page ne peut" +
        " pas lire ici. Ouvrez le livre par ",
      element("code", "make livre"),
      ", ou tapez ",
      element("code", "python -m llmbook.exercise"),
      " dans un terminal.",
    );
    below.append(note);
  }
  root.querySelector(".bible-progression-repli").hidden = true;
  root.append(main, below);
}

document.querySelectorAll(".bible-progression").forEach(start);
