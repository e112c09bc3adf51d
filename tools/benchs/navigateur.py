"""Le modèle dans la page : du clic au premier token, puis de token en token, dans Chromium.

`python -m tools.benchs.navigateur` sert le livre construit en boucle locale et se sert de la page
comme un lecteur : à part de `make bench`, car il faut un navigateur et le livre. Un fil WASM. Chaque
tour ouvre un contexte neuf, sans rien en cache : le premier token comprend tout le téléchargement.
"""

import argparse
import os
import statistics
import sys
import threading
from pathlib import Path

from tools import chromium, serve
from tools.bench import fr
from tools.messages import Panne, guard, say

ROOT = Path(__file__).resolve().parents[2]
MARK = 'data-module="ecrire"'
LENGTHS = (0, 256, 512, 896)  # tokens déjà lus
WRITE = """async (length) => {
  document.querySelector(".reglages .glouton input").click();
  const slider = document.querySelectorAll(".reglages input[type=range]")[5];
  slider.value = length;
  slider.dispatchEvent(new Event("input", { bubbles: true }));
  document.querySelector(".ecrire button.principal").click();
}"""
# Le moteur seul, sans page à dessiner : `count` tokens après `length` tokens, en ms par token.
ENGINE = """async ([url, lengths, count]) => {
  const { Model } = await import(url);
  const model = await Model.load();
  const ids = (n) => [0, ...Array.from({ length: n }, (_, i) => 300 + (i * 7919) % 3000)];
  const write = async (n, maxTokens) => {
    const times = [];
    let last;
    const options = { maxTokens, sampling: { temperature: null }, stop: [] };
    for await (const token of model.generate(ids(n), options)) {
      const now = performance.now();
      if (last !== undefined) times.push(now - last);
      last = now;
    }
    return times.sort((a, b) => a - b)[times.length >> 1];
  };
  await write(0, count); // le navigateur finit de compiler pendant les premiers tokens
  const out = [];
  for (const n of lengths) out.push(await write(n, count));
  model.close();
  return out;
}"""


def find_page(html):
    """L’adresse de la page qui écrit, relative au livre."""
    for path in sorted(html.glob("notebooks/**/*.html")):
        if MARK in path.read_text(encoding="utf-8"):
            return path.relative_to(html).as_posix()
    raise Panne(f"Aucune page de {html} n’écrit.", "Construisez le livre : make livre SERVE=0.")


def as_reader(browser, url, length):
    """(secondes du clic au premier token, tokens/s ensuite), la page dessinée comprise."""
    context = browser.new_context(locale="fr-FR")
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("[data-module=ecrire][data-etat=pret]")
    page.evaluate(WRITE, length)
    page.wait_for_selector(".ecrire[data-fin]", state="attached", timeout=120_000)
    if trouble := page.locator(".souci").text_content():
        raise Panne(f"La page n’a pas écrit : {trouble}", "Reconstruisez le livre, avec npm.")
    read = page.locator(".ecrire").get_attribute
    seconds, rate = int(read("data-premier")) / 1000, float(read("data-debit"))
    context.close()
    return seconds, rate


def engine_alone(browser, url, static):
    context = browser.new_context()
    page = context.new_page()
    page.goto(url)
    times = page.evaluate(ENGINE, [f"{static}explorables/modele/model.js", LENGTHS, 100])
    context.close()
    return [1000 / ms for ms in times]


def spread(values, digits=2):
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{fr(middle, digits)} ({fr(low, digits)} à {fr(high, digits)})"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--html", type=Path, default=ROOT / "_build" / "html")
    parser.add_argument("--tours", type=int, default=5, help="nombre de tours (5)")
    parser.add_argument("--tokens", type=int, default=256, help="tokens écrits par tour (256)")
    chosen = parser.parse_args()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise Panne("playwright manque.", "pip install 'llmbook[dev]'") from error
    path = chromium.find()
    if path is None:
        raise Panne("Aucun Chromium.", f"Pour l’avoir : {chromium.how_to()}.")
    page = find_page(chosen.html)
    server = serve.open_server(0, chosen.html)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    root = f"http://127.0.0.1:{server.server_port}/"
    with sync_playwright() as api:
        browser = api.chromium.launch(executable_path=path, args=chromium.FLAGS)
        runs = [as_reader(browser, root + page, chosen.tokens) for _ in range(chosen.tours)]
        rates = [engine_alone(browser, root + page, f"{root}_static/") for _ in range(3)]
        version = browser.version
        browser.close()
    server.shutdown()
    say(f"Chromium {version}, {chosen.tours} tours de {chosen.tokens} tokens gloutons, un fil WASM")
    say(f"premier token après le clic : {spread([s for s, _ in runs])} s")
    say(f"dans la page, tokens/s      : {spread([rate for _, rate in runs], 0)}")
    for length, values in zip(LENGTHS, zip(*rates, strict=True), strict=True):
        say(f"moteur seul, après {length:3} tokens : {spread(values, 0)} tokens/s")
    if hasattr(os, "getloadavg"):
        say(f"charge de la machine : {fr(os.getloadavg()[0])}")


if __name__ == "__main__":
    sys.exit(guard(main))
