// Figures à manipuler : charge le module de chacune et lui donne ses données. Si le module manque
// ou échoue, le repli statique reste en place.

async function start(figure) {
  const fallback = figure.querySelector(".bible-explorable-repli");
  const root = document.createElement("div");
  root.className = "bible-explorable-racine";
  try {
    const data = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    const url = new URL(`explorables/${figure.dataset.module}.js`, import.meta.url);
    const module = await import(url);
    fallback.before(root);
    await module.default(root, data);
    fallback.hidden = true;
    figure.dataset.etat = "pret";
  } catch (error) {
    root.remove();
    figure.dataset.etat = "repli";
    console.warn(`Figure « ${figure.dataset.module} » : le repli statique est affiché.`, error);
  }
}

document.querySelectorAll(".bible-explorable").forEach(start);
