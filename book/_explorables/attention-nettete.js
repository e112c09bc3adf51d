// Poids d’attention causale d’une ligne de Python, selon le nombre qui divise les scores.
// data : { mots: [...], produits: [[...]], diviseur: 16 } ; produits = Q Kᵀ, avant division.

const number = (x, digits) =>
  x.toLocaleString("fr-FR", { minimumFractionDigits: digits, maximumFractionDigits: digits });

function softmax(scores) {
  const top = Math.max(...scores);
  const weights = scores.map((s) => Math.exp(s - top));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((w) => w / total);
}

function element(name, attributes = {}, text = "") {
  const node = document.createElement(name);
  Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
  node.textContent = text;
  return node;
}

export default function attentionSharpness(root, data) {
  const label = element("label", {}, "Diviseur des scores ");
  const slider = element("input", { type: "range", min: -1, max: 8, step: 0.25 });
  slider.value = Math.log2(data.diviseur);
  const value = element("output", { "aria-live": "off" });
  label.append(slider, value);

  const table = element("table");
  const caption = element("caption", {}, "Poids que chaque mot (ligne) donne aux mots lus (colonne)");
  const head = element("tr");
  head.append(element("td"), ...data.mots.map((mot) => element("th", { scope: "col" }, mot)));
  const cells = data.mots.map((mot, i) => {
    const row = element("tr");
    const line = data.mots.map(() => element("td"));
    row.append(element("th", { scope: "row" }, mot), ...line);
    return { row, line, i };
  });
  table.append(caption, head, ...cells.map(({ row }) => row));
  table.style.cssText = "border-collapse: collapse; margin: 0.8rem 0; text-align: center; font-size: 0.85rem";

  const summary = element("p", { "aria-live": "polite" });

  function draw() {
    const divisor = 2 ** Number(slider.value);
    const shown = number(divisor, divisor < 10 ? 1 : 0);
    value.textContent = shown;
    slider.setAttribute("aria-valuetext", `diviseur ${shown}`);
    let last = [];
    cells.forEach(({ line, i }) => {
      const past = data.produits[i].slice(0, i + 1).map((x) => x / divisor);
      last = softmax(past);
      line.forEach((cell, j) => {
        const weight = last[j] ?? 0;
        cell.textContent = j > i ? "–" : number(weight, 2);
        const percent = Math.round(45 * weight);
        cell.style.cssText =
          "padding: 0.3rem 0.4rem; border: 1px solid var(--line);" +
          `background: color-mix(in srgb, var(--ochre) ${percent}%, transparent)`;
      });
    });
    const entropy = -last.reduce((sum, p) => sum + (p > 0 ? p * Math.log2(p) : 0), 0);
    summary.textContent =
      `Dernière ligne : plus grand poids ${number(Math.max(...last), 2)}, ` +
      `entropie ${number(entropy, 2)} bit sur ${number(Math.log2(last.length), 2)} possibles.`;
  }

  slider.addEventListener("input", draw);
  root.append(label, table, summary);
  draw();
}
