// Dérivée de ln(1 + eˣ) en x = 1, par différences finies : le pas h se règle à la main.

const number = (x, digits) =>
  x.toLocaleString("fr-FR", { minimumFractionDigits: digits, maximumFractionDigits: digits });

const f = (x) => Math.log1p(Math.exp(x));
const f32 = (x) => Math.fround(f(x)); // la valeur arrondie à 32 bits
const TRUTH = 1 / (1 + Math.exp(-1));

const FORMULAS = [
  ["différence avant", (h) => (f(1 + h) - f(1)) / h],
  ["différence centrée", (h) => (f(1 + h) - f(1 - h)) / (2 * h)],
  ["centrée, 32 bits", (h) =>
    Math.fround(f32(Math.fround(1 + h)) - f32(Math.fround(1 - h))) / Math.fround(2 * h)],
];

function element(name, attributes = {}, text = "") {
  const node = document.createElement(name);
  Object.entries(attributes).forEach(([key, value]) => node.setAttribute(key, value));
  node.textContent = text;
  return node;
}

/** « 3,2 · 10⁻⁵ » */
function scientific(x) {
  const exponent = Math.floor(Math.log10(x) + 1e-9);
  const digits = String(exponent).replace("-", "⁻").replace(/\d/g, (d) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[d]);
  return `${number(x / 10 ** exponent, 1)} · 10${digits}`;
}

export default function differenceStep(root) {
  const label = element("label", {}, "Pas h ");
  const slider = element("input", { type: "range", min: -15, max: 0, step: 0.25, value: -5 });
  const shown = element("output", { "aria-live": "off" });
  label.append(slider, shown);

  const table = element("table");
  const caption = element("caption", {}, `Dérivée de ln(1 + eˣ) en x = 1 ; la vraie vaut ${number(TRUTH, 10)}`);
  const head = element("tr");
  ["formule", "dérivée calculée", "chiffres justes"].forEach((title) =>
    head.append(element("th", { scope: "col" }, title)));
  const rows = FORMULAS.map(([name, formula]) => {
    const row = element("tr");
    const cells = [element("td"), element("td")];
    row.append(element("th", { scope: "row" }, name), ...cells);
    return { row, cells, formula };
  });
  table.append(caption, head, ...rows.map(({ row }) => row));
  table.style.cssText = "border-collapse: collapse; margin: 0.8rem 0; font-variant-numeric: tabular-nums";

  const summary = element("p", { "aria-live": "polite" });

  function draw() {
    const h = 10 ** Number(slider.value);
    shown.textContent = scientific(h);
    slider.setAttribute("aria-valuetext", `pas ${scientific(h)}`);
    const kept = rows.map(({ cells, formula }) => {
      const estimate = formula(h);
      const gap = Math.abs(estimate - TRUTH) / TRUTH;
      const digits = Math.max(0, Math.min(16, Math.floor(-Math.log10(gap || 1e-16))));
      cells[0].textContent = number(estimate, 10);
      cells[1].textContent = String(digits);
      return digits;
    });
    table.querySelectorAll("th, td").forEach((cell) => {
      cell.style.cssText = "padding: 0.3rem 0.8rem; border: 1px solid var(--line); text-align: left";
    });
    summary.textContent =
      `Avec un pas de ${scientific(h)}, la formule centrée garde ${kept[1]} chiffre` +
      `${kept[1] > 1 ? "s" : ""}, la différence avant ${kept[0]}.`;
  }

  slider.addEventListener("input", draw);
  root.append(label, table, summary);
  draw();
}
