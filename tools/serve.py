"""La cible `livre` : construit, puis sert `_build/html` sur 127.0.0.1, et nulle part ailleurs.

La page de progression lit `/progression.json`, que ce serveur tire du fichier écrit par
`llmbook.exercise` : rien ne sort de la machine.
"""

import argparse
import errno
import json
import os
import socket
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tools.messages import Panne, say

ROOT = Path(__file__).resolve().parent.parent
HTML = ROOT / "_build" / "html"
HOST = "127.0.0.1"
NO = {"0", "non", "no", "false", "faux"}

NOT_FOUND = """<!doctype html>
<html lang="fr"><meta charset="utf-8"><title>Page introuvable</title>
<body style="font-family:sans-serif;max-width:40rem;margin:4rem auto;padding:0 1rem">
<h1>Page introuvable</h1><p>Cette adresse ne mène à aucune page du livre.</p>
<p><a href="/">Retour à la couverture</a></p></body></html>
"""


def read_options(options):
    parser = argparse.ArgumentParser(prog="python -m tools livre", description=__doc__)
    parser.add_argument("--port", default=os.environ.get("PORT") or "8000")
    parser.add_argument("--sans-servir", action="store_true", help="construire seulement")
    chosen = parser.parse_args(options)
    if os.environ.get("SERVE", "").strip().lower() in NO:
        chosen.sans_servir = True
    try:
        chosen.port = int(chosen.port)
    except ValueError:
        chosen.port = -1
    if not 0 < chosen.port < 65536:
        raise Panne("Ce port n’en est pas un.", "Donnez un nombre de 1024 à 65535 : PORT=8001.", 2)
    return chosen


def check_options(options):
    """Dit d’avance qu’un port est occupé, avant l’installation et la construction."""
    chosen = read_options(options)
    if not chosen.sans_servir:
        open_server(chosen.port).server_close()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    # Sous Windows, cette option laisserait deux serveurs prendre le même port.
    allow_reuse_address = os.name != "nt"


def progress():
    """Ce que `llmbook.exercise` a noté : {"exercises": {étiquette : …}}, dans l’état du moment."""
    from llmbook import exercise_progress

    return {"exercises": exercise_progress.read()}


class Handler(SimpleHTTPRequestHandler):
    """Des fichiers, la progression, et des erreurs en français."""

    # Explicites : sous Windows, le registre peut dire « text/plain » pour .js.
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".css": "text/css",
        ".json": "application/json",
        ".wasm": "application/wasm",
        ".svg": "image/svg+xml",
        ".woff": "font/woff",
        ".woff2": "font/woff2",
    }

    def do_GET(self):
        if self.path.split("?")[0] == "/progression.json":
            self.send_progress()
        else:
            super().do_GET()

    def send_progress(self):
        body = json.dumps(progress(), ensure_ascii=False).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def list_directory(self, path):
        self.send_error(HTTPStatus.NOT_FOUND)

    def send_error(self, code, message=None, explain=None):
        body = NOT_FOUND.encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def end_headers(self):
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *_):
        pass


def free_port(after):
    """Le premier port libre après celui-ci, pour proposer un remède qui marche."""
    for port in range(after + 1, min(after + 50, 65536)):
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)):
                return port
    return after + 1


def open_server(port, folder=HTML):
    try:
        return Server((HOST, port), partial(Handler, directory=str(folder)))
    except OSError as error:
        if error.errno == errno.EADDRINUSE or getattr(error, "winerror", 0) in (10013, 10048):
            other = free_port(port)
            raise Panne(
                f"Le port {port} est occupé par un autre programme.",
                f"Prenez-en un autre : make livre PORT={other} "
                f"(ou python -m tools livre --port {other}).",
            ) from None
        if error.errno == errno.EACCES:
            raise Panne(
                f"Le port {port} est réservé au système.", "Prenez-en un autre : PORT=8000."
            ) from None
        raise


def main(options):
    from tools import build

    chosen = read_options(options)
    sentence = build.build()
    if chosen.sans_servir:
        say(f"{sentence}, dans _build/html/index.html.")
        return 0
    with open_server(chosen.port) as server:
        say(f"{sentence}. À lire : http://{HOST}:{chosen.port}/ (Ctrl+C pour arrêter)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("\nServeur arrêté.")
    return 0
