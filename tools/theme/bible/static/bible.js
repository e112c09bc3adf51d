/* Comportements communs : thème, sommaire, copie du code, boîtes qui défilent, impression. */
(() => {
  "use strict";
  const racine = document.documentElement;
  const $ = (selecteur, dans = document) => dans.querySelector(selecteur);
  const $$ = (selecteur, dans = document) => [...dans.querySelectorAll(selecteur)];

  const annoncer = (texte) => {
    const zone = $("#annonces");
    if (!zone) return;
    zone.textContent = "";
    setTimeout(() => { zone.textContent = texte; }, 50);
  };

  /* --- thème ------------------------------------------------------------------------- */
  const NOMS = { auto: "automatique", clair: "clair", sombre: "sombre" };
  const SUIVANT = { auto: "clair", clair: "sombre", sombre: "auto" };
  const systeme = matchMedia("(prefers-color-scheme: dark)");

  const appliquer = (choix) => {
    racine.dataset.choix = choix;
    const sombre = choix === "sombre" || (choix === "auto" && systeme.matches);
    racine.dataset.theme = sombre ? "dark" : "light";
    const bouton = $("#changer-theme");
    if (!bouton) return;
    bouton.title = `Thème ${NOMS[choix]}`;
    bouton.setAttribute("aria-label", `Thème ${NOMS[choix]}, passer au thème ${NOMS[SUIVANT[choix]]}`);
  };
  appliquer(racine.dataset.choix || "auto");
  systeme.addEventListener("change", () => appliquer(racine.dataset.choix));
  $("#changer-theme")?.addEventListener("click", () => {
    const choix = SUIVANT[racine.dataset.choix] || "auto";
    try { localStorage.setItem("bible-theme", choix); } catch { /* navigation privée */ }
    appliquer(choix);
    annoncer(`Thème ${NOMS[choix]}`);
  });

  /* --- sommaire ---------------------------------------------------------------------- */
  const menu = $("#navigation");
  const ouvrir = $("#ouvrir-menu");
  const derriere = () => $$(".entete, .contenu, .droite, .pied, .aller-contenu");

  const deplier = (ouvert, rendreFocus = true) => {
    if (racine.classList.contains("menu-ouvert") === ouvert) return;
    racine.classList.toggle("menu-ouvert", ouvert);
    ouvrir.setAttribute("aria-expanded", String(ouvert));
    derriere().forEach((bloc) => { bloc.inert = ouvert; });
    if (ouvert) {
      ($('[aria-current="page"]', menu) || $("a", menu))?.scrollIntoView({ block: "center" });
      $("#fermer-menu").focus({ preventScroll: true });
    } else if (rendreFocus) ouvrir.focus();
  };
  if (menu && ouvrir) {
    ouvrir.addEventListener("click", () => deplier(true));
    $("#fermer-menu").addEventListener("click", () => deplier(false));
    $("#voile").addEventListener("click", () => deplier(false));
    menu.addEventListener("click", (e) => { if (e.target.closest("a")) deplier(false, false); });
    document.addEventListener("keydown", (e) => {
      if (!racine.classList.contains("menu-ouvert")) return;
      if (e.key === "Escape") deplier(false);
      if (e.key !== "Tab") return;
      const atteignables = $$("a, button, summary", menu).filter((el) => el.offsetParent !== null);
      const [premier, dernier] = [atteignables[0], atteignables.at(-1)];
      if (e.shiftKey && document.activeElement === premier) { e.preventDefault(); dernier.focus(); }
      else if (!e.shiftKey && document.activeElement === dernier) { e.preventDefault(); premier.focus(); }
    });
    addEventListener("resize", () => {
      if (getComputedStyle(ouvrir).display === "none") deplier(false, false);
    });
    const ici = $('[aria-current="page"]', menu);
    if (ici) menu.scrollTop = Math.max(0, ici.offsetTop - menu.clientHeight / 3);
  }

  /* --- recherche : « / » y mène -------------------------------------------------------- */
  document.addEventListener("keydown", (e) => {
    if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey) return;
    if (e.target.closest("input, textarea, select, [contenteditable]")) return;
    const champ = $$("#recherche-champ, #recherche-entete").find((el) => el.offsetParent !== null);
    if (champ) { e.preventDefault(); champ.focus(); }
  });

  /* --- copie du code ------------------------------------------------------------------ */
  const ICONE = '<svg class="icone" viewBox="0 0 20 20" width="16" height="16" aria-hidden="true" ' +
    'fill="none" stroke="currentColor" stroke-width="1.6" stroke-linejoin="round">' +
    '<rect x="7" y="7" width="9.5" height="9.5" rx="1.5"/><path d="M13 4H5a1 1 0 0 0-1 1v8"/></svg>';
  const copier = async (texte) => {
    if (navigator.clipboard) return navigator.clipboard.writeText(texte);
    const zone = document.createElement("textarea");
    zone.value = texte;
    zone.style.cssText = "position:fixed;opacity:0";
    document.body.append(zone);
    zone.select();
    const fait = document.execCommand("copy");
    zone.remove();
    if (!fait) throw new Error("copie refusée");
    return undefined;
  };
  $$(".texte div.highlight").forEach((bloc) => {
    if (bloc.closest(".cell_output, .sans-copie")) return;
    const code = $("pre", bloc);
    if (!code) return;
    const bouton = document.createElement("button");
    bouton.type = "button";
    bouton.className = "copier";
    bouton.title = "Copier le code";
    bouton.setAttribute("aria-label", "Copier le code");
    bouton.innerHTML = `${ICONE}<span aria-hidden="true"></span>`;
    bouton.addEventListener("click", async () => {
      let message = "Code copié";
      try { await copier(code.textContent.replace(/\n$/, "")); } catch { message = "Copie refusée par le navigateur"; }
      bouton.classList.add("fait");
      bouton.lastElementChild.textContent = message;
      annoncer(message);
      setTimeout(() => {
        bouton.classList.remove("fait");
        bouton.lastElementChild.textContent = "";
      }, 2000);
    });
    bloc.append(bouton);
  });

  /* --- boîtes qui défilent : atteignables au clavier, et nommées ------------------------ */
  const BOITES = [
    [".texte pre", "Code, défilable"],
    [".texte .defile-tableau", "Tableau, défilable"],
    [".texte mjx-container[display='true']", "Formule, défilable"],
    [".texte mjx-container.trop-large", "Formule, défilable"],
    [".texte div.math", "Formule, défilable"],
    [".texte .defile", "Contenu défilable"],
  ];
  const rendreAtteignables = () => {
    $$(".texte span.math > mjx-container").forEach((el) => {
      el.classList.remove("trop-large");
      let boite = el.parentElement;
      while (getComputedStyle(boite).display === "inline") boite = boite.parentElement;
      if (boite.clientWidth > 0 && el.offsetWidth > boite.clientWidth) el.classList.add("trop-large");
    });
    for (const [selecteur, nom] of BOITES) {
      $$(selecteur).forEach((el) => {
        const deborde = el.scrollWidth > el.clientWidth + 1 || el.scrollHeight > el.clientHeight + 1;
        if (deborde && /auto|scroll/.test(getComputedStyle(el).overflowX)) {
          if (el.tabIndex >= 0) return;
          el.tabIndex = 0;
          if (!el.hasAttribute("role")) el.setAttribute("role", "group");
          if (!el.hasAttribute("aria-label")) el.setAttribute("aria-label", nom);
          el.dataset.defile = "";
        } else if ("defile" in el.dataset) {
          el.removeAttribute("tabindex");
          el.removeAttribute("role");
          el.removeAttribute("aria-label");
          delete el.dataset.defile;
        }
      });
    }
  };
  let attente;
  const plusTard = () => { clearTimeout(attente); attente = setTimeout(rendreAtteignables, 120); };
  rendreAtteignables();
  addEventListener("load", plusTard);
  addEventListener("resize", plusTard);
  document.addEventListener("toggle", plusTard, true);
  /* Un choix de quiz fait d’une seule formule : son nom, en mots, pour le lecteur d’écran. */
  const LIENS = { msup: " puissance ", msub: " indice ", mfrac: " sur " };
  const enMots = (noeud) => {
    const parties = [...noeud.children].map(enMots);
    if (noeud.localName === "msqrt") return `racine de ${parties.join(" ")}`;
    if (noeud.localName in LIENS) return parties.join(LIENS[noeud.localName]);
    return parties.length ? parties.join(" ") : noeud.textContent.trim();
  };
  const nommerFormules = () => $$("label").forEach((label) => {
    const copie = label.cloneNode(true);
    $$("mjx-container", copie).forEach((el) => el.remove());
    if (copie.textContent.trim()) return;
    $$("mjx-assistive-mml > math", label).forEach((m) => m.setAttribute("aria-label", enMots(m)));
  });
  if (window.MathJax) {
    const pret = () => (window.MathJax.startup?.promise
      ? window.MathJax.startup.promise.then(() => { nommerFormules(); plusTard(); })
      : setTimeout(pret, 50));
    addEventListener("load", pret);
  }

  /* --- sommaire de la page : titre en cours --------------------------------------------- */
  const liens = $$(".locale a[href^='#']");
  if (liens.length && "IntersectionObserver" in window) {
    const cibles = liens.map((a) => document.getElementById(decodeURIComponent(a.hash.slice(1))));
    const marquer = () => {
      let rang = 0;
      cibles.forEach((c, i) => { if (c && c.getBoundingClientRect().top < 140) rang = i; });
      liens.forEach((a, i) => {
        if (i === rang) a.setAttribute("aria-current", "location");
        else a.removeAttribute("aria-current");
      });
    };
    let prevu = false;
    addEventListener("scroll", () => {
      if (prevu) return;
      prevu = true;
      requestAnimationFrame(() => { prevu = false; marquer(); });
    }, { passive: true });
    marquer();
  }

  /* --- une ancre dans un bloc replié l’ouvre --------------------------------------------- */
  const ouvrirAncre = () => {
    const cible = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let el = cible; el; el = el.parentElement) if (el.tagName === "DETAILS") el.open = true;
  };
  addEventListener("hashchange", ouvrirAncre);
  ouvrirAncre();

  /* --- impression : blocs dépliés, images chargées ---------------------------------------- */
  let replies = [];
  addEventListener("beforeprint", () => {
    replies = $$(".texte details:not([open])");
    replies.forEach((d) => { d.open = true; });
    $$("img[loading='lazy']").forEach((img) => { img.loading = "eager"; });
  });
  addEventListener("afterprint", () => { replies.forEach((d) => { d.open = false; }); replies = []; });
})();
