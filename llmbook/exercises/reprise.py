"""Exercices de la section « Arrêter, reprendre, diagnostiquer »."""

import hashlib

import numpy as np

from llmbook.exercise import Exercise

young_exercise = Exercise(
    "ex-reprise-young", title="Tous les combien ?", level="facile", minutes=4,
    hints=("Le surcoût est cost / tau + tau / (2 mtbf).",
           "Sa dérivée par tau est nulle quand tau² = 2 cost mtbf."))


@young_exercise.reference
def best_interval(cost, mtbf):
    """Intervalle de Young, dans l’unité de temps de cost et mtbf."""
    return np.sqrt(2 * cost * mtbf)


@young_exercise.cases
def _(rng):
    yield 30.0, 10_000.0
    yield 6.3, 86_400.0
    yield 0.5, 600.0


@young_exercise.trap("Le facteur 2 manque : une panne tombe en moyenne au milieu d’un intervalle, et ne "
                     "coûte donc que tau / 2.")
def _(cost, mtbf):
    return np.sqrt(cost * mtbf)


@young_exercise.trap("C’est le surcoût à l’optimum, √(2 C / M) ; on demande l’intervalle.")
def _(cost, mtbf):
    return np.sqrt(2 * cost / mtbf)


@young_exercise.trap("La racine manque : vous renvoyez tau², et non tau.")
def _(cost, mtbf):
    return 2 * cost * mtbf


@young_exercise.trap("Le 2 est sous la racine : tau² = 2 C M.")
def _(cost, mtbf):
    return 2 * np.sqrt(cost * mtbf)


@young_exercise.trap("Le facteur 2 multiplie, il ne divise pas : tau² = 2 C M.")
def _(cost, mtbf):
    return np.sqrt(cost * mtbf / 2)


@young_exercise.variant
def _(cost, mtbf):
    return mtbf * (2 * cost / mtbf) ** 0.5


fleet_exercise = Exercise(
    "ex-reprise-flotte", title="Combien d’interruptions ?", level="facile", minutes=5,
    hints=("Une carte seule tombe 24 × days / card_mtbf fois en moyenne.",
           "Les pannes de cartes indépendantes s’additionnent."))


@fleet_exercise.reference
def interruptions(card_mtbf, cards, days):
    """card_mtbf : heures entre deux pannes d’une carte ; renvoie un nombre moyen de pannes."""
    return cards * 24 * days / card_mtbf


@fleet_exercise.cases
def _(rng):
    yield 50_000.0, 16_384, 54
    yield 50_000.0, 8, 30
    yield 20_000.0, 1024, 10


@fleet_exercise.trap("card_mtbf est en heures, days en jours : il manque 24.")
def _(card_mtbf, cards, days):
    return cards * days / card_mtbf


@fleet_exercise.trap("C’est le temps entre deux pannes de la flotte, en heures ; on demande leur nombre.")
def _(card_mtbf, cards, days):
    return card_mtbf / cards


@fleet_exercise.trap("Vous comptez une seule carte : multipliez par cards.")
def _(card_mtbf, cards, days):
    return 24 * days / card_mtbf


@fleet_exercise.trap("C’est la probabilité d’au moins une panne ; on demande leur nombre moyen, qui peut "
                     "dépasser 1.")
def _(card_mtbf, cards, days):
    return 1 - np.exp(-cards * 24 * days / card_mtbf)


@fleet_exercise.trap("Plus il y a de cartes, plus il y a de pannes : cards multiplie.")
def _(card_mtbf, cards, days):
    return 24 * days / (card_mtbf * cards)


@fleet_exercise.variant
def _(card_mtbf, cards, days):
    return days / (card_mtbf / 24 / cards)


position_exercise = Exercise(
    "ex-reprise-position", title="Où en étions-nous ?", level="moyen", minutes=8,
    hints=("Suites déjà lues : step × accumulate × batch_size.",
           "divmod par le nombre de suites d’une époque donne le couple."))


@position_exercise.reference
def position(step, batch_size, accumulate, per_epoch):
    """step : pas déjà faits ; renvoie (époque, rang dans l’époque) de la prochaine suite."""
    return divmod(step * accumulate * batch_size, per_epoch)


@position_exercise.cases
def _(rng):
    yield 100, 8, 1, 500
    yield 1200, 16, 4, 10_000
    yield 0, 8, 1, 500
    yield 125, 8, 2, 500


@position_exercise.trap("Un pas fait accumulate passages : il lit autant de fois plus de suites.")
def _(step, batch_size, accumulate, per_epoch):
    return divmod(step * batch_size, per_epoch)


@position_exercise.trap("Décalage d’un pas : après `step` pas, la prochaine suite est celle du pas de "
                        "numéro `step`, compté depuis zéro.")
def _(step, batch_size, accumulate, per_epoch):
    return divmod((step + 1) * accumulate * batch_size, per_epoch)


@position_exercise.trap("Décalage d’un pas : vous rejouez le dernier pas déjà fait.")
def _(step, batch_size, accumulate, per_epoch):
    return divmod(max(0, step - 1) * accumulate * batch_size, per_epoch)


@position_exercise.trap("Vous comptez en lots ; le rang demandé est celui d’une suite : multipliez par "
                        "batch_size.")
def _(step, batch_size, accumulate, per_epoch):
    return divmod(step * accumulate, per_epoch)


@position_exercise.trap("L’époque vient d’abord, puis le rang.")
def _(step, batch_size, accumulate, per_epoch):
    return divmod(step * accumulate * batch_size, per_epoch)[::-1]


@position_exercise.trap("Le rang repart de zéro à chaque époque : prenez le reste de la division.")
def _(step, batch_size, accumulate, per_epoch):
    read = step * accumulate * batch_size
    return read // per_epoch, read


@position_exercise.variant
def _(step, batch_size, accumulate, per_epoch):
    epoch, rank = 0, step * accumulate * batch_size
    while rank >= per_epoch:
        epoch, rank = epoch + 1, rank - per_epoch
    return epoch, rank


intact_exercise = Exercise(
    "ex-reprise-intact", title="Le dernier point entier", level="moyen", minutes=12,
    hints=("hashlib.sha256(content).hexdigest() donne l’empreinte du contenu.",
           "Gardez les points dont l’empreinte est celle annoncée, puis le plus grand pas.",
           "max(…, default=None) traite le cas où il n’en reste aucun."))


@intact_exercise.reference
def last_intact(points):
    """points : liste de (pas, contenu, empreinte annoncée) ; renvoie un pas, ou None."""
    kept = [step for step, content, digest in points
            if hashlib.sha256(content).hexdigest() == digest]
    return max(kept, default=None)


@intact_exercise.cases
def _(rng):
    def point(step, damage=None):
        content = rng.bytes(32)
        digest = hashlib.sha256(content).hexdigest()
        if damage == "court":
            content = content[:-5]
        elif damage == "octet":
            content = bytes([content[0] ^ 1]) + content[1:]
        return step, content, digest

    yield [point(100), point(200), point(300, "octet")],
    yield [point(1000), point(900), point(200), point(1100, "court")],
    yield [point(300, "octet"), point(400), point(500, "court"), point(450, "octet")],
    yield [point(100, "court"), point(200, "octet")],
    yield [point(100), point(200)],


@intact_exercise.trap("Vous prenez le dernier point sans comparer son empreinte.")
def _(points):
    return max(step for step, _, _ in points)


@intact_exercise.trap("Vous ne voyez que les points tronqués : un octet changé ne change pas la longueur.")
def _(points):
    longest = max(len(content) for _, content, _ in points)
    return max((step for step, content, _ in points if len(content) == longest), default=None)


@intact_exercise.trap("Vous prenez le dernier de la liste : elle n’est pas rangée, comparez les pas.")
def _(points):
    kept = [step for step, content, digest in points
            if hashlib.sha256(content).hexdigest() == digest]
    return kept[-1] if kept else None


@intact_exercise.trap("Vous renvoyez le premier point entier, le plus ancien : on veut le plus récent.")
def _(points):
    kept = [step for step, content, digest in points
            if hashlib.sha256(content).hexdigest() == digest]
    return min(kept, default=None)


@intact_exercise.trap("Le dernier point abîmé, il faut chercher plus loin, et non renoncer.")
def _(points):
    step, content, digest = max(points)
    return step if hashlib.sha256(content).hexdigest() == digest else None


@intact_exercise.variant
def _(points):
    for step, content, digest in sorted(points, key=lambda point: -point[0]):
        if hashlib.new("sha256", content).digest() == bytes.fromhex(digest):
            return step
    return None


bad_exercise = Exercise(
    "ex-reprise-suspect", title="La première sortie fautive", level="moyen", minutes=8,
    hints=("np.isfinite vaut faux pour nan comme pour les deux infinis.",
           "Une seule valeur fautive suffit : niez all, non any."))


@bad_exercise.reference
def first_bad(names, outputs):
    """names : noms des modules, dans l’ordre du calcul ; outputs : leurs sorties ; un nom ou None."""
    for name, output in zip(names, outputs, strict=True):
        if not np.isfinite(output).all():
            return name
    return None


@bad_exercise.cases
def _(rng):
    names = ["embed", "norm", "attention", "ffn"]

    def run(damage):
        outputs = [rng.normal(size=(2, 3)) for _ in names]
        for index, value in damage:
            outputs[index][1, index % 3] = value
        return names, outputs

    yield run([(2, np.inf), (3, np.nan)])
    yield run([])
    yield run([(1, -np.inf)])
    yield run([(0, np.nan), (1, np.nan), (2, np.nan)])


@bad_exercise.trap("Un infini est déjà une faute, et précède souvent le nan : np.isfinite voit les deux.")
def _(names, outputs):
    return next((n for n, o in zip(names, outputs, strict=True) if np.isnan(o).any()), None)


@bad_exercise.trap("np.isinf ne voit pas nan : prenez np.isfinite.")
def _(names, outputs):
    return next((n for n, o in zip(names, outputs, strict=True) if np.isinf(o).any()), None)


@bad_exercise.trap("C’est la dernière sortie fautive ; la cause est la première, les autres en héritent.")
def _(names, outputs):
    return next((n for n, o in zip(names[::-1], outputs[::-1], strict=True)
                 if not np.isfinite(o).all()), None)


@bad_exercise.trap("Une seule valeur fautive suffit : vous attendez qu’elles le soient toutes.")
def _(names, outputs):
    return next((n for n, o in zip(names, outputs, strict=True) if not np.isfinite(o).any()), None)


@bad_exercise.trap("Renvoyez le nom du module, et non son rang.")
def _(names, outputs):
    return next((i for i, o in enumerate(outputs) if not np.isfinite(o).all()), None)


@bad_exercise.variant
def _(names, outputs):
    finite = np.array([np.isfinite(o).all() for o in outputs])
    return None if finite.all() else names[int(np.argmin(finite))]


spike_exercise = Exercise(
    "ex-reprise-pics", title="Reconnaître un pic", level="moyen", minutes=12,
    hints=("La médiane des `window` pertes d’avant : np.median(losses[t - window : t]).",
           "Les premiers pas, avant `window`, n’ont pas assez de passé : faux.",
           "Une comparaison avec nan est toujours fausse : traitez-le à part."))


@spike_exercise.reference
def spikes(losses, window, factor):
    """losses : (T,) ; renvoie (T,) booléens : plus de factor fois la médiane d’avant, ou pas finie."""
    found = np.zeros(len(losses), bool)
    for t in range(window, len(losses)):
        past = np.median(losses[t - window : t])
        found[t] = losses[t] > factor * past or not np.isfinite(losses[t])
    return found


@spike_exercise.cases
def _(rng):
    calm = 3 + 0.1 * rng.normal(size=14)
    calm[[7, 8]] = 7.0, 6.0
    yield calm, 5, 1.5
    end = 3 + 0.1 * rng.normal(size=10)
    end[9] = np.nan
    yield end, 4, 1.3
    yield np.array([4.0, 2, 3, 2, 9, 9, 9, 3]), 3, 2.0
    yield np.array([9.0, 2, 2, 9]), 3, 1.5
    yield np.array([2.0, 2, 2, 2, 4, 2]), 3, 2.0
    yield np.array([2.0, 2, 3.5, 2]), 2, 1.5
    yield np.array([2.0, 9, 2, 2, 2.5, 2]), 3, 1.5


def _spikes(losses, window, factor, center=np.median, inside=0, start=None, nan=True, equal=False):
    found = np.zeros(len(losses), bool)
    for t in range(window if start is None else start, len(losses)):
        past = losses[max(0, t - window + inside) : t + inside]
        limit = factor * center(past)
        found[t] = losses[t] >= limit if equal else losses[t] > limit
        found[t] |= nan and not np.isfinite(losses[t])
    return found


@spike_exercise.trap("La moyenne est tirée par un pic récent, et cache le suivant : prenez la médiane.")
def _(losses, window, factor):
    return _spikes(losses, window, factor, center=np.mean)


@spike_exercise.trap("nan > seuil est faux : une perte qui n’est pas finie échappe à la comparaison.")
def _(losses, window, factor):
    return _spikes(losses, window, factor, nan=False)


@spike_exercise.trap("La fenêtre contient la perte jugée : arrêtez-la juste avant t.")
def _(losses, window, factor):
    return _spikes(losses, window, factor, inside=1)


@spike_exercise.trap("Les `window` premiers pas n’ont pas assez de passé : laissez-les faux.")
def _(losses, window, factor):
    return _spikes(losses, window, factor, start=1)


@spike_exercise.trap("« Plus de factor fois » : l’égalité n’est pas un pic.")
def _(losses, window, factor):
    return _spikes(losses, window, factor, equal=True)


@spike_exercise.trap("Vous prenez la médiane de toute la course : seules les `window` pertes d’avant "
                     "comptent.")
def _(losses, window, factor):
    found = (losses > factor * np.nanmedian(losses)) | ~np.isfinite(losses)
    return found & (np.arange(len(losses)) >= window)


@spike_exercise.variant
def _(losses, window, factor):
    past = np.median(np.lib.stride_tricks.sliding_window_view(losses[:-1], window), axis=1)
    found = np.zeros(len(losses), bool)
    found[window:] = ~(losses[window:] <= factor * past)
    found[window:] &= np.isfinite(past) | ~np.isfinite(losses[window:])
    return found


wall_exercise = Exercise(
    "ex-reprise-horloge", title="Le temps d’une course entière", level="difficile", minutes=25,
    hints=("Gardez l’heure présente, les segments faits et la prochaine panne.",
           "Une tentative dure tau + cost, plus restart si la précédente a échoué.",
           "Si une panne tombe avant la fin de la tentative, l’heure devient la sienne, et rien n’est "
           "gagné : la tentative suivante recommence le même segment, redémarrage compris."))


@wall_exercise.reference
def wall_time(segments, tau, cost, restart, failures):
    """failures : heures croissantes des pannes ; renvoie l’heure de la fin du dernier point."""
    now, done, pending, upcoming = 0.0, 0, 0.0, list(failures)
    while done < segments:
        end = now + pending + tau + cost
        if upcoming and upcoming[0] < end:
            now, pending = upcoming.pop(0), restart
        else:
            now, pending, done = end, 0.0, done + 1
    return now


@wall_exercise.cases
def _(rng):
    yield 5, 10.0, 1.0, 3.0, []
    yield 3, 10.0, 1.0, 2.0, [5.0]
    yield 3, 10.0, 2.0, 4.0, [11.0]              # pendant l’écriture du point
    yield 3, 10.0, 1.0, 5.0, [4.0, 6.0]          # pendant le redémarrage
    yield 3, 10.0, 1.0, 2.0, [15.0]
    yield 20, 7.0, 0.5, 2.0, list(np.cumsum(rng.exponential(30.0, size=40)))


def _wall(segments, tau, cost, restart, failures, lose=True, safe_write=False, safe_restart=False,
          wipe=False, last=True):
    now, done, pending, upcoming = 0.0, 0, 0.0, list(failures)
    while done < segments:
        end = now + pending + tau + (cost if last or done < segments - 1 else 0.0)
        while safe_restart and upcoming and now <= upcoming[0] < now + pending:
            upcoming.pop(0)
        if upcoming and upcoming[0] < end - (cost if safe_write else 0.0):
            failure = upcoming.pop(0)
            now, pending = (failure, restart) if lose else (failure, restart - (failure - now))
            done = 0 if wipe else done
        else:
            while safe_write and upcoming and upcoming[0] < end:
                upcoming.pop(0)
            now, pending, done = end, 0.0, done + 1
    return now


@wall_exercise.trap("Une panne pendant l’écriture perd aussi le segment : le point n’est pas entier.")
def _(segments, tau, cost, restart, failures):
    return _wall(segments, tau, cost, restart, failures, safe_write=True)


@wall_exercise.trap("Une panne peut tomber pendant le redémarrage, qu’il faut alors recommencer.")
def _(segments, tau, cost, restart, failures):
    return _wall(segments, tau, cost, restart, failures, safe_restart=True)


@wall_exercise.trap("Une panne ne renvoie qu’au dernier point, et non au début de la course.")
def _(segments, tau, cost, restart, failures):
    return _wall(segments, tau, cost, restart, failures, wipe=True)


@wall_exercise.trap("Le redémarrage manque : il s’ajoute à la tentative qui suit une panne.")
def _(segments, tau, cost, restart, failures):
    return _wall(segments, tau, cost, 0.0, failures)


@wall_exercise.trap("Vous gardez le travail fait depuis le dernier point : une panne le perd.")
def _(segments, tau, cost, restart, failures):
    return _wall(segments, tau, cost, restart, failures, lose=False)


@wall_exercise.trap("Le dernier segment finit aussi par un point : son écriture compte.")
def _(segments, tau, cost, restart, failures):
    return _wall(segments, tau, cost, restart, failures, last=False)


@wall_exercise.trap("Vous ajoutez à la course sans panne le seul prix des redémarrages : le travail perdu "
                    "compte aussi.")
def _(segments, tau, cost, restart, failures):
    total = segments * (tau + cost)
    return total + restart * sum(failure < total for failure in failures)


@wall_exercise.variant
def _(segments, tau, cost, restart, failures):
    """De panne en panne : combien de segments entiers tiennent avant la suivante."""
    now, left, overhead = 0.0, segments, 0.0
    for failure in failures:
        room = failure - now - overhead
        whole = max(0, int(room / (tau + cost) + 1e-9)) if room >= 0 else 0
        if whole >= left:
            break
        now, left, overhead = failure, left - whole, restart
    return now + overhead + left * (tau + cost)
