/* Page de recherche. language_data.js donne bibleMots() et bibleRacine(), les mêmes règles que
   l’index ; searchindex.js appelle Search.setIndex(). Rien d’autre n’est nécessaire. */
const Search = (() => {
  "use strict";
  const base = document.documentElement.dataset.content_root || "./";
  const champ = document.querySelector("#recherche-champ");
  const bilan = document.querySelector("#recherche-bilan");
  const liste = document.querySelector("#recherche-resultats");
  const LIMITE = 40;
  const EXTRAITS = 15;
  const texteDe = (html) => new DOMParser().parseFromString(html, "text/html").body.textContent;
  const propre = (titre) => texteDe(titre).trim().replace(/^\((.*)\)$/, "$1");
  const adresse = (nom) => `${base}${nom.split("/").map(encodeURIComponent).join("/")}.html`;
  const enListe = (v) => (v === undefined ? [] : Array.isArray(v) ? v : [v]);

  const racines = (texte) => [...new Set(bibleMots(texte).map(bibleRacine))];

  /* Documents qui contiennent une racine ; le dernier mot peut être en cours de frappe. */
  const occurrences = (table, racine, debut) => {
    const trouves = new Map();
    const ajouter = (docs, poids) => docs.forEach((d) => trouves.set(d, Math.max(poids, trouves.get(d) || 0)));
    if (Object.hasOwn(table, racine)) ajouter(enListe(table[racine]), 1);
    if (debut && racine.length > 2) {
      for (const terme of Object.keys(table)) {
        if (terme !== racine && terme.startsWith(racine)) ajouter(enListe(table[terme]), 0.4);
      }
    }
    return trouves;
  };

  const chercher = (index, requete) => {
    const mots = racines(requete);
    const total = index.docnames.length;
    const notes = new Map();
    mots.forEach((racine, rang) => {
      const dansTexte = occurrences(index.terms, racine, rang === mots.length - 1);
      const dansTitres = occurrences(index.titleterms, racine, rang === mots.length - 1);
      const vus = new Set([...dansTexte.keys(), ...dansTitres.keys()]);
      const rarete = Math.log(1 + total / (1 + vus.size));
      vus.forEach((doc) => {
        const note = notes.get(doc) || { mots: 0, points: 0 };
        note.mots += 1;
        note.points += rarete * ((dansTexte.get(doc) || 0) + 4 * (dansTitres.get(doc) || 0));
        notes.set(doc, note);
      });
    });
    const sections = new Map();
    const parDoc = (doc) => sections.get(doc) || sections.set(doc, []).get(doc);
    const contient = (texte) => {
      const presentes = racines(texte);
      return mots.length > 0 && mots.every((m) => presentes.includes(m));
    };
    for (const [titre, lieux] of Object.entries(index.alltitles)) {
      if (!contient(titre)) continue;
      for (const [doc, ancre] of lieux) {
        if (ancre) parDoc(doc).push([propre(titre), `#${ancre}`]);
        else if (notes.has(doc)) notes.get(doc).points += 6;
      }
    }
    const definitions = [];
    for (const groupe of Object.values(index.objects)) {
      for (const [doc, type, , ancre, nom] of groupe) {
        if (index.objtypes[type] !== "std:term" || !contient(texteDe(nom))) continue;
        definitions.push([doc, texteDe(nom), `#${ancre || nom}`]);
      }
    }
    let trouves = [...notes].map(([doc, note]) => ({ doc, ...note }));
    const complets = trouves.filter((r) => r.mots === mots.length);
    const partiel = complets.length === 0 && trouves.length > 0;
    if (!partiel) trouves = complets;
    trouves.sort((a, b) => b.mots - a.mots || b.points - a.points || a.doc - b.doc);
    return { mots, trouves, sections, definitions, partiel };
  };

  /* Extrait autour de la première rencontre, mots trouvés surlignés. */
  const extrait = (texte, mots, partiel) => {
    const motif = /[\p{L}\p{N}]+/gu;
    const touches = [];
    for (const m of texte.matchAll(motif)) {
      const racine = bibleRacine(m[0]);
      if (mots.some((mot) => racine === mot || (mot.length > 2 && racine.startsWith(mot)))) {
        touches.push([m.index, m.index + m[0].length]);
      }
      if (touches.length > 200) break;
    }
    if (!touches.length) return null;
    let debut = Math.max(0, touches[0][0] - 90);
    if (debut > 0) debut = texte.indexOf(" ", debut) + 1 || debut;
    let fin = Math.min(texte.length, debut + 230);
    if (fin < texte.length) fin = texte.lastIndexOf(" ", fin);
    const p = document.createElement("p");
    p.className = "extrait";
    let ici = debut;
    p.append(debut > 0 ? "… " : "");
    for (const [a, b] of touches) {
      if (a < ici || b > fin) continue;
      const marque = document.createElement("mark");
      marque.textContent = texte.slice(a, b);
      p.append(texte.slice(ici, a), marque);
      ici = b;
    }
    p.append(texte.slice(ici, fin), fin < texte.length ? " …" : "");
    return p;
  };

  const lirePage = async (url) => {
    const reponse = await fetch(url);
    if (!reponse.ok) return "";
    const page = new DOMParser().parseFromString(await reponse.text(), "text/html");
    const corps = page.querySelector("article.texte");
    if (!corps) return "";
    corps.querySelectorAll("script, style, h1, .headerlink, .math, svg, button").forEach((el) => el.remove());
    corps.querySelectorAll("p, li, dt, dd, h2, h3, h4, td, th, pre").forEach((el) => el.append(" "));
    return corps.textContent.replace(/\s+/g, " ").trim();
  };

  const lien = (url, texte) => {
    const a = document.createElement("a");
    a.href = url;
    a.textContent = texte;
    return a;
  };

  const afficher = async (index) => {
    const requete = new URLSearchParams(location.search).get("q")?.trim() || "";
    document.querySelectorAll("input[name=q]").forEach((el) => { el.value = requete; });
    if (!requete) { champ.focus(); return; }
    document.title = `« ${requete} » · ${document.title}`;
    const { mots, trouves, sections, definitions, partiel } = chercher(index, requete);
    const n = trouves.length;
    if (!mots.length) bilan.textContent = "Ces mots sont trop courants pour être cherchés.";
    else if (!n) bilan.textContent = `Aucune page ne contient « ${requete} ».`;
    else if (partiel) bilan.textContent = `Aucune page ne contient tous ces mots. ${n} ${n > 1 ? "pages en contiennent" : "page en contient"} une partie.`;
    else bilan.textContent = `${n} ${n > 1 ? "pages" : "page"} pour « ${requete} »`;
    if (n > LIMITE) bilan.textContent += `, les ${LIMITE} premières ci-dessous`;

    for (const [doc, nom, ancre] of definitions.slice(0, 3)) {
      const li = document.createElement("li");
      li.className = "definition";
      li.append(lien(adresse(index.docnames[doc]) + ancre, nom), " (définition du glossaire)");
      liste.append(li);
    }
    const aLire = [];
    for (const { doc } of trouves.slice(0, LIMITE)) {
      const url = adresse(index.docnames[doc]);
      const li = document.createElement("li");
      li.append(lien(url, texteDe(index.titles[doc]) || index.docnames[doc]));
      const dedans = (sections.get(doc) || []).slice(0, 4);
      if (dedans.length) {
        const ul = document.createElement("ul");
        for (const [titre, ancre] of dedans) {
          const sous = document.createElement("li");
          sous.append(lien(url + ancre, titre));
          ul.append(sous);
        }
        li.append(ul);
      }
      liste.append(li);
      aLire.push([url, li]);
    }
    for (const [url, li] of aLire.slice(0, EXTRAITS)) {
      try {
        const p = extrait(await lirePage(url), mots, partiel);
        if (p) li.firstElementChild.after(p);
      } catch { break; /* pages ouvertes sans serveur : pas d’extrait */ }
    }
    liste.dataset.fini = "";
  };

  return { setIndex: (index) => { afficher(index); } };
})();
