"""Exécuter un programme long : son journal dans un fichier, chacune de ses lignes à qui la lit."""

import subprocess

from tools.messages import Progress


def relay(command, log, on_line, **options):
    """Code de retour du programme. on_line(line, progress) reçoit chaque ligne, et la renvoie
    telle que le journal doit la garder. Interrompu, le programme est arrêté aussi.
    """
    progress = Progress()
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            **options,
        )
        try:
            for line in process.stdout:
                file.write(on_line(line, progress))
            return process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
        finally:
            progress.close()
