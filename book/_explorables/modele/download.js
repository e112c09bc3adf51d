// Télécharger en comptant les octets, et vérifier que ce qui est arrivé est ce qui était attendu.

// Une panne que la page sait dire. code : manquant, altere, reseau, moteur, memoire, wasm, fichier.
export class ModelError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "ModelError";
    this.code = code;
  }
}

export async function readManifest(url) {
  const answer = await get(url);
  try {
    return await answer.json();
  } catch {
    throw new ModelError("altere", `${url} n’est pas un manifeste lisible.`);
  }
}

// Les octets d’un fichier ; expected : {octets, sha256} ; count(n) est appelée à chaque morceau.
export async function download(url, expected, count = () => {}) {
  const answer = await get(url);
  const bytes = new Uint8Array(expected.octets);
  const reader = answer.body.getReader();
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      throw new ModelError("reseau", `${name(url)} : la connexion s’est coupée (${error.message}).`);
    });
    if (done) break;
    if (length + value.length > bytes.length) throw altered(url);
    bytes.set(value, length);
    length += value.length;
    count(value.length);
  }
  if (length !== bytes.length) throw altered(url);
  if (globalThis.crypto?.subtle && (await digest(bytes)) !== expected.sha256) throw altered(url);
  return bytes;
}

// no-cache : le navigateur garde le fichier, mais demande s’il a changé avant de s’en resservir.
async function get(url) {
  let answer;
  try {
    answer = await fetch(url, { cache: "no-cache" });
  } catch {
    throw new ModelError("reseau", `${name(url)} est hors d’atteinte : vérifiez la connexion.`);
  }
  if (!answer.ok) throw new ModelError("manquant", `${name(url)} manque (réponse ${answer.status}).`);
  return answer;
}

// L’empreinte SHA-256 en hexadécimal. Sur une page ni en HTTPS ni locale, le navigateur refuse de la
// calculer : seule la longueur est alors vérifiée.
async function digest(bytes) {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const name = (url) => String(url).split(/[?#]/)[0].split("/").pop();
const altered = (url) =>
  new ModelError("altere", `${name(url)} n’est pas le fichier attendu : son empreinte ne correspond pas.`);
