"""Quarante-neuf questions posées à la bibliothèque standard, et les fonctions qui y répondent.

Écrites pour le livre, dans les mots d’un développeur qui ne connaît pas le nom de la fonction, en
évitant ceux de la docstring attendue : c’est plus dur pour une recherche par mots que de vraies
questions. Chacune est en anglais, la langue des docstrings, et en français. Plusieurs réponses
peuvent être admises.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Query:
    """english, french : la question ; answers : noms qualifiés des fonctions admises."""

    english: str
    french: str
    answers: frozenset[str]


_LINES = """
delete a folder and everything inside it | supprimer un dossier et tout son contenu | rmtree
how big is the console | connaître la taille de la console | get_terminal_size
find where a program is installed | trouver où un programme est installé | which
copy a whole folder | copier un dossier entier | copytree
middle value of a series | valeur du milieu d’une série | median
most common value | valeur la plus fréquente | mode multimode
how spread out the values are | dispersion des valeurs | stdev pstdev variance pvariance
fit a straight line to points | ajuster une droite à des points | linear_regression
average of several numbers | moyenne de plusieurs nombres | mean fmean
mix up a list in random order | mélanger une liste au hasard | Random.shuffle
pick several items without repetition | tirer plusieurs éléments sans remise | Random.sample
whole number between two bounds, drawn at random | nombre entier tiré entre deux bornes |
    Random.randint Random.randrange
words spelled almost the same | mots qui s’écrivent presque pareil | get_close_matches
how alike are two strings | ressemblance de deux chaînes |
    SequenceMatcher.ratio SequenceMatcher.quick_ratio SequenceMatcher.real_quick_ratio
show what changed between two versions of a file | montrer ce qui a changé entre deux versions |
    unified_diff context_diff ndiff Differ.compare
strip the indentation shared by all lines | ôter l’indentation commune aux lignes | dedent
cut a long text so that it fits | couper un long texte pour qu’il tienne | shorten
turn an object into JSON text | changer un objet en texte JSON | JSONEncoder.encode
remember results so that a function is not computed twice | retenir les résultats d’une fonction |
    cache lru_cache
ignore an error | ignorer une erreur | suppress
send what is printed to a file | envoyer dans un fichier ce qui s’affiche | redirect_stdout
duplicate an object and all it contains | dupliquer un objet et tout ce qu’il contient | deepcopy
file name without its extension | nom d’un fichier sans son extension | PurePath.stem
which user owns a file | à quel utilisateur appartient un fichier | Path.owner
make an empty file | créer un fichier vide | Path.touch
is this a folder | est-ce un dossier | Path.is_dir
unpack a whole archive | décompresser toute une archive | ZipFile.extractall TarFile.extractall
protect a zip with a password | protéger une archive par un mot de passe | ZipFile.setpassword
wait for a thread to finish | attendre la fin d’un fil d’exécution | Thread.join
run something later, after a delay | exécuter plus tard, après un délai | Timer
how many threads are running | combien de fils tournent | active_count
does February have 29 days this year | février a-t-il 29 jours cette année | isleap
how many days in a month | combien de jours dans un mois | monthrange
what day is it now | quel jour sommes-nous | date.today datetime.now
monday or sunday | lundi ou dimanche | weekday date.weekday date.isoweekday
read a date written with a given pattern | lire une date écrite selon un modèle |
    datetime.strptime
split a web address into its parts | découper une adresse web en morceaux | urlparse urlsplit
build an absolute link from a relative one | former un lien absolu à partir d’un lien relatif |
    urljoin
sign in to a mail server | s’identifier auprès d’un serveur de courrier | SMTP.login
send an email | envoyer un courriel | SMTP.sendmail SMTP.send_message
download a file from a server | télécharger un fichier depuis un serveur |
    FTP.retrbinary FTP.retrlines
checksum of a file | somme de contrôle d’un fichier | file_digest
read a Python value without running code | lire une valeur Python sans exécuter de code |
    literal_eval
a few smallest elements | les quelques plus petits éléments | nsmallest
combine several sorted lists | fusionner plusieurs listes triées | merge
where to put a value in a sorted list | où placer une valeur dans une liste triée |
    bisect_left bisect_right insort_left insort_right
print a nested dictionary legibly | afficher lisiblement un dictionnaire imbriqué | pprint pformat
make sure that a call fails with the right error |
    s’assurer qu’un appel échoue avec la bonne erreur | TestCase.assertRaises
guess the separator of a table | deviner le séparateur d’un tableau | Sniffer.sniff
"""


def queries() -> list[Query]:
    """Les questions, dans l’ordre du fichier."""
    lines = _LINES.strip().replace("\n    ", " ").splitlines()  # une ligne en retrait continue
    rows = (line.split(" | ") for line in lines)
    return [Query(english, french, frozenset(names.split())) for english, french, names in rows]
