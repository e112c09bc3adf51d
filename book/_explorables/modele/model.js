// Le modèle du livre dans la page : charger, écrire, regarder l’attention.
//
//   const model = await Model.load(defaultUrl, { onProgress, signal });
//   for await (const { id, probability, top } of model.generate(ids, { maxTokens: 64 })) …
//   const { layers, heads, length, data } = await model.attention(ids);
//   model.close();
//
// Rien n’est demandé au réseau avant `load`. Le calcul se fait dans worker.js, sur un fil.

import { ModelError } from "./download.js";

export { ModelError };

// Où la construction du livre range le modèle et son moteur.
export const defaultUrl = new URL("../../modele/nano/", import.meta.url).href;
const ENGINE = new URL("../../onnxruntime/", import.meta.url).href;
const MAX_ATTENTION = 512; // tokens ; au-delà, (L, H, T, T) tiendrait mal en mémoire

// null si cette page peut exécuter le modèle, sinon la ModelError qui dit pourquoi.
export function obstacle() {
  if (location.protocol === "file:")
    return new ModelError(
      "fichier",
      "Cette page est ouverte depuis le disque (file://), d’où un navigateur ne charge pas de modèle. " +
        "Lancez « make livre » dans le dossier du livre, et ouvrez l’adresse affichée.",
    );
  if (typeof WebAssembly !== "object" || typeof Worker !== "function")
    return new ModelError(
      "wasm",
      "Ce navigateur n’a pas WebAssembly, ou l’interdit sur cette page : le modèle ne peut pas y tourner.",
    );
  return null;
}

export class Model {
  #worker;
  #waiting = new Map(); // numéro d’appel -> {resolve, reject, onProgress}
  #calls = 0;
  #closed = null;

  // onProgress({stage, loaded, total}) : stage vaut telechargement puis preparation, le reste est en
  // octets. signal : arrête tout, et libère la mémoire. ModelError si le modèle ne peut pas venir.
  static async load(baseUrl = defaultUrl, { onProgress, signal, engineUrl = ENGINE } = {}) {
    signal?.throwIfAborted();
    const problem = obstacle();
    if (problem) throw problem;
    const model = new Model();
    try {
      const modelUrl = new URL(String(baseUrl).replace(/\/*$/, "/"), location.href).href;
      model.info = await model.#ask({ type: "load", modelUrl, engineUrl }, { onProgress, signal });
      return model;
    } catch (error) {
      model.close();
      throw error;
    }
  }

  constructor() {
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.close(new ModelError("moteur", `Le fil du modèle s’est arrêté : ${event.message ?? "fichier illisible"}`));
    };
  }

  get context() {
    return this.info.contexte;
  }

  // Les tokens qui suivent ids, un à un : {id, probability, sampled, top}. probability est celle du
  // modèle ; sampled, celle d’après les réglages ; top, les huit plus probables, [[numéro, probabilité,
  // après réglages], …]. sampling : voir sampling.js ; stop : les tokens après lesquels s’arrêter, par
  // défaut la fin de document. signal : arrête tout de suite, par une AbortError.
  async *generate(ids, { maxTokens = 128, sampling = {}, seed = 0, stop = [this.info.fin], signal } = {}) {
    this.#check(ids, this.context - 1);
    if (!(maxTokens >= 1)) throw new RangeError(`maxTokens=${maxTokens} : demandez au moins un token`);
    const room = Math.min(maxTokens, this.context - ids.length);
    const { run } = await this.#ask({ type: "start", ids, sampling, seed }, { signal });
    const ask = () => {
      const token = this.#ask({ type: "next", run }, { signal });
      token.catch(() => {}); // si personne ne l’attend plus
      return token;
    };
    let coming = ask();
    for (let written = 1; written <= room; written++) {
      const token = await coming;
      const isLast = written === room || stop.includes(token.id);
      if (!isLast) coming = ask(); // se calcule pendant que la page montre celui-ci
      yield token;
      if (isLast) return;
    }
  }

  // Les probabilités d’attention : {layers, heads, length, data}, data à plat de forme (L, H, T, T) ;
  // la ligne i de la tête h de la couche l commence en ((l · H + h) · T + i) · T.
  async attention(ids, { signal } = {}) {
    this.#check(ids, Math.min(this.context, MAX_ATTENTION));
    return this.#ask({ type: "attention", ids }, { signal });
  }

  // Arrête le fil et rend sa mémoire ; ce qui était en cours échoue.
  close(reason = new ModelError("ferme", "Ce modèle a été fermé.")) {
    this.#closed ??= reason;
    this.#worker.terminate();
    for (const { reject } of this.#waiting.values()) reject(reason);
    this.#waiting.clear();
  }

  #check(ids, most) {
    const wrong = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= this.info.vocabulaire);
    if (wrong !== undefined)
      throw new RangeError(`token ${wrong} : le vocabulaire va de 0 à ${this.info.vocabulaire - 1}`);
    if (ids.length < 1 || ids.length > most)
      throw new RangeError(`${ids.length} tokens : il en faut de 1 à ${most} ; gardez la fin du texte`);
  }

  #ask(message, { signal, onProgress } = {}) {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(this.#closed);
      if (signal?.aborted) return reject(signal.reason);
      const call = ++this.#calls;
      const stop = () => {
        this.#waiting.delete(call);
        reject(signal.reason);
      };
      signal?.addEventListener("abort", stop, { once: true });
      const settle = (done) => (value) => {
        signal?.removeEventListener("abort", stop);
        done(value);
      };
      this.#waiting.set(call, { resolve: settle(resolve), reject: settle(reject), onProgress });
      this.#worker.postMessage({ ...message, call });
    });
  }

  #receive({ call, progress, result, error }) {
    const waiting = this.#waiting.get(call);
    if (!waiting) return; // abandonné entre-temps
    if (progress) return waiting.onProgress?.(progress);
    this.#waiting.delete(call);
    if (!error) return waiting.resolve(result);
    waiting.reject(error.code === "reglage" ? new RangeError(error.message) : new ModelError(error.code, error.message));
  }
}
