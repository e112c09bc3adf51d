// Quiz : vérifier une question, lire pourquoi, recommencer. Le résultat reste dans ce navigateur,
// sous la clé « bible:quiz:<étiquette> » : {"reponses": {"1": [2]}, "score": 3, "total": 5, "date": …}.

const key = (label) => `bible:quiz:${label}`;

function load(label) {
  try {
    const found = JSON.parse(localStorage.getItem(key(label)));
    if (found?.reponses && typeof found.reponses === "object") return found;
  } catch {
    /* stockage refusé ou abîmé : le quiz marche, sans mémoire */
  }
  return { reponses: {} };
}

function save(label, state) {
  try {
    if (state) localStorage.setItem(key(label), JSON.stringify(state));
    else localStorage.removeItem(key(label));
  } catch {
    /* navigation privée : rien à garder */
  }
}

function readQuestion(fieldset) {
  const choices = [...fieldset.querySelectorAll(".bible-choix")].map((box) => ({
    box,
    input: box.querySelector("input"),
    details: box.querySelector(".bible-explication"),
    right: box.dataset.valeur === "juste",
  }));
  return {
    fieldset,
    choices,
    result: fieldset.querySelector(".bible-resultat"),
    button: fieldset.querySelector(".bible-verifier"),
    several: fieldset.dataset.reponses === "plusieurs",
    done: null, // null : pas encore vérifiée ; sinon true (juste) ou false
  };
}

const checkedValues = (question) =>
  question.choices.filter((c) => c.input.checked).map((c) => Number(c.input.value));

function reveal(question) {
  question.done = question.choices.every((c) => c.input.checked === c.right);
  for (const choice of question.choices) {
    choice.input.disabled = true;
    choice.details.hidden = false;
    choice.details.open = true;
    choice.box.classList.add(choice.right ? "est-juste" : "est-faux");
    choice.box.classList.toggle("est-choisi", choice.input.checked);
  }
  question.fieldset.classList.add("est-verifiee");
  question.button.hidden = true;
  const word = question.done ? "Juste" : "Faux";
  question.result.className = `bible-resultat bible-verdict-${word.toLowerCase()}`;
  question.result.textContent = question.done
    ? "Juste. Lisez pourquoi sous chaque choix."
    : question.several && question.choices.some((c) => c.input.checked && c.right)
      ? "Faux\u00a0: une partie de la réponse seulement. Lisez pourquoi sous chaque choix."
      : "Faux. Lisez pourquoi sous chaque choix.";
}

function reset(question) {
  question.done = null;
  question.fieldset.classList.remove("est-verifiee");
  for (const choice of question.choices) {
    choice.input.disabled = false;
    choice.input.checked = false;
    choice.details.hidden = true;
    choice.details.open = false;
    choice.box.classList.remove("est-juste", "est-faux", "est-choisi");
  }
  question.button.hidden = false;
  question.result.className = "bible-resultat";
  question.result.textContent = "";
}

function start(root) {
  const label = root.dataset.quiz;
  const questions = [...root.querySelectorAll(".bible-question")].map(readQuestion);
  const summary = root.querySelector(".bible-quiz-bilan");
  const score = root.querySelector(".bible-score");
  let state = load(label);

  function showScore() {
    const done = questions.filter((q) => q.done !== null);
    const right = done.filter((q) => q.done).length;
    summary.hidden = done.length === 0;
    const text =
      done.length === questions.length
        ? `Quiz terminé\u00a0: ${right} sur ${questions.length}.`
        : `${right} sur ${done.length} pour l’instant, il reste ${questions.length - done.length} ` +
          `question${questions.length - done.length > 1 ? "s" : ""}.`;
    if (done.length) score.textContent = text;
    return { done: done.length, right };
  }

  function check(question, number) {
    const values = checkedValues(question);
    if (values.length === 0) {
      question.result.textContent = "Choisissez d’abord une réponse.";
      question.choices[0].input.focus();
      return;
    }
    reveal(question);
    question.result.tabIndex = -1;
    question.result.focus(); // le bouton disparaît : le clavier reste dans la question
    const { done, right } = showScore();
    state.reponses[number] = values;
    save(label, {
      ...state,
      score: right,
      faites: done,
      total: questions.length,
      date: new Date().toISOString(),
    });
  }

  questions.forEach((question, index) => {
    reset(question);
    const values = state.reponses?.[index + 1];
    if (Array.isArray(values)) {
      for (const c of question.choices) c.input.checked = values.includes(Number(c.input.value));
      if (checkedValues(question).length) reveal(question);
    }
    question.button.addEventListener("click", () => check(question, index + 1));
  });
  root.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  root.querySelector("form").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.target.tagName !== "INPUT") return;
    event.preventDefault(); // Entrée sur un choix vérifie sa question
    const index = questions.findIndex((q) => q.fieldset.contains(event.target));
    check(questions[index], index + 1);
  });
  root.querySelector(".bible-recommencer").addEventListener("click", () => {
    questions.forEach(reset);
    state = { reponses: {} };
    save(label, null);
    showScore();
    score.textContent = "";
    questions[0].choices[0].input.focus();
  });
  root.classList.add("est-actif");
  showScore();
}

document.querySelectorAll(".bible-quiz").forEach(start);
