// Le tokeniseur du livre dans la page : un BPE d’octets, égal à llmbook.tokenizer.Tokenizer.
//
//   const tokenizer = await Tokenizer.load("…/_static/modele/nano/");
//   tokenizer.decode(tokenizer.encode("Bonjour")) === "Bonjour"
//
// Lit tout tokenizer.json dont la découpe est une suite de Split isolés puis ByteLevel : ceux du livre,
// GPT-2, Llama 3, Qwen. Limite : Python et le navigateur n’ont pas toujours la même version d’Unicode ;
// un caractère que seul l’un des deux connaît peut être découpé autrement.

import { CHARS, read, visibleBytes } from "./tokenizer-json.js";

const END_MARKS = ["<|fin|>", "<|endoftext|>", "<|end_of_text|>"];
const CACHED_WORDS = 1 << 16;
const utf8 = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true }); // sinon U+FEFF disparaîtrait

export class Tokenizer {
  // baseUrl : le dossier qui contient tokenizer.json.
  static async load(baseUrl) {
    const url = `${String(baseUrl).replace(/\/*$/, "")}/tokenizer.json`;
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`${url} est introuvable (réponse ${answer.status})`);
    return Tokenizer.parse(await answer.text());
  }

  // json : le contenu de tokenizer.json, texte ou objet.
  static parse(json) {
    return new Tokenizer(read(json));
  }

  constructor({ vocab, merges, specials, patterns, nfc, wholeWords }) {
    Object.assign(this, { specials, patterns, nfc, wholeWords });
    const everyId = new Map([...vocab, ...specials]);
    const reserved = new Set(specials.values());
    this.tokens = []; // octets de chaque numéro
    this.ids = new Map(); // numéro de chaque suite d’octets, écrite en caractères visibles
    for (const [text, id] of everyId) {
      this.tokens[id] = specials.has(text) ? utf8.encode(text) : visibleBytes(text);
      if (!reserved.has(id)) this.ids.set(text, id);
    }
    this.vocabSize = this.tokens.length;
    this.byteIds = CHARS.map((char) => this.ids.get(char));
    const missing = this.byteIds.filter((id) => id === undefined).length;
    if (missing) throw new Error(`${missing} octets n’ont pas de token : ce vocabulaire n’encode pas tout texte`);

    this.ranks = new Map(); // rang de chaque paire de numéros
    this.pairs = []; // paire de numéros de chaque rang
    this.merged = []; // numéro que chaque rang produit
    this.births = new Map(); // premier rang qui produit chaque numéro
    merges.forEach(([left, right], rank) => {
      const id = this.ids.get(left + right);
      if (id === undefined || !everyId.has(left) || !everyId.has(right))
        throw new Error(`la fusion « ${left} ${right} » ne produit aucun token : tokenizer.json est abîmé`);
      this.pairs.push([everyId.get(left), everyId.get(right)]);
      this.ranks.set(this.pairKey(...this.pairs[rank]), rank);
      this.merged.push(id);
      if (!this.births.has(id)) this.births.set(id, rank);
    });

    this.endId = END_MARKS.map((mark) => specials.get(mark)).find((id) => id !== undefined) ?? null;
    const longestFirst = [...specials.keys()].sort((a, b) => [...b].length - [...a].length);
    const escaped = longestFirst.map((mark) => mark.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
    this.marks = escaped.length ? new RegExp(`(${escaped.join("|")})`, "u") : null;
    this.cache = new Map();
  }

  // Encoder

  // Numéros d’un texte. N’ouvrez `specials` qu’à un texte que vous avez composé vous-même.
  encode(text, { specials = false } = {}) {
    if (typeof text !== "string") throw new Error("encode attend un texte");
    if (/\p{Cs}/u.test(text)) throw new Error("le texte contient un demi-caractère, que l’UTF-8 n’écrit pas");
    const ids = [];
    const parts = specials && this.marks ? text.split(this.marks) : [text];
    parts.forEach((part, i) => {
      if (i % 2) ids.push(this.specials.get(part));
      else for (const word of this.words(part)) for (const id of this.encodeWord(word)) ids.push(id);
    });
    return ids;
  }

  // Un objet par token : {id, bytes, text}.
  pieces(text, options) {
    return this.encode(text, options).map((id) => ({ id, bytes: this.tokenBytes(id), text: this.decode([id]) }));
  }

  // Les mots que séparent les motifs : aucune fusion ne passe d’un mot à l’autre.
  words(text) {
    let words = text === "" ? [] : [this.nfc ? text.normalize("NFC") : text];
    for (const pattern of this.patterns) words = words.flatMap((word) => isolate(pattern, word));
    return words;
  }

  encodeWord(word) {
    let ids = this.cache.get(word);
    if (ids) return ids;
    const bytes = Array.from(utf8.encode(word));
    const whole = this.wholeWords ? this.ids.get(bytes.map((byte) => CHARS[byte]).join("")) : undefined;
    ids = whole === undefined ? merge(bytes.map((byte) => this.byteIds[byte]), this) : [whole];
    if (this.cache.size >= CACHED_WORDS) this.cache.clear();
    this.cache.set(word, ids);
    return ids;
  }

  // Les états d’un mot, de ses octets à ses tokens : [{ids, rank}], rank étant la fusion qui y mène.
  steps(word) {
    const states = [{ ids: Array.from(utf8.encode(word), (byte) => this.byteIds[byte]), rank: null }];
    merge([...states[0].ids], this, (ids, rank) => states.push({ ids, rank }));
    return states;
  }

  // Décoder

  tokenBytes(id) {
    const token = this.tokens[id];
    if (token) return token;
    throw new Error(`numéro ${id} hors du vocabulaire, qui va de 0 à ${this.vocabSize - 1}`);
  }

  // Des octets qui ne font pas un caractère deviennent « \ufffd », comme en Python.
  decode(ids) {
    return decoder.decode(Uint8Array.from(Array.from(ids, (id) => [...this.tokenBytes(id)]).flat()));
  }

  // Rang de la fusion qui produit ce token ; null pour un octet ou une marque.
  rank(id) {
    return this.births.get(id) ?? null;
  }

  pairKey(left, right) {
    return left * this.vocabSize + right;
  }
}

// Les trouvailles du motif et ce qui les sépare, dans l’ordre.
function isolate(pattern, text) {
  const pieces = [];
  let end = 0;
  for (const { 0: found, index } of text.matchAll(pattern)) {
    if (index > end) pieces.push(text.slice(end, index));
    if (found) pieces.push(found);
    end = index + found.length;
  }
  if (end < text.length) pieces.push(text.slice(end));
  return pieces;
}

// La fusion la plus ancienne d’abord, puis la plus à gauche : un tas de (rang, place), une liste chaînée.
function merge(ids, tokenizer, onMerge) {
  const n = ids.length;
  const following = ids.map((_, i) => i + 1);
  const previous = ids.map((_, i) => i - 1);
  const heap = [];
  const rankAt = (left, right) => tokenizer.ranks.get(tokenizer.pairKey(ids[left], ids[right]));
  const propose = (left, right) => {
    const rank = left < 0 || right >= n ? undefined : rankAt(left, right);
    if (rank !== undefined) push(heap, rank * n + left);
  };
  for (let i = 0; i < n; i++) propose(i, i + 1);
  while (heap.length) {
    const key = pop(heap);
    const left = key % n, rank = (key - left) / n, right = following[left];
    if (ids[left] === null || right >= n || rankAt(left, right) !== rank) continue; // périmé
    ids[left] = tokenizer.merged[rank];
    ids[right] = null;
    following[left] = following[right];
    if (following[left] < n) previous[following[left]] = left;
    propose(previous[left], left);
    propose(left, following[left]);
    onMerge?.(ids.filter((id) => id !== null), rank);
  }
  return ids.filter((id) => id !== null);
}

function push(heap, key) {
  let i = heap.length;
  for (; i > 0 && heap[(i - 1) >> 1] > key; i = (i - 1) >> 1) heap[i] = heap[(i - 1) >> 1];
  heap[i] = key;
}

function pop(heap) {
  const top = heap[0], last = heap.pop();
  let i = 0;
  for (let child = 1; child < heap.length; child = 2 * i + 1) {
    if (heap[child + 1] < heap[child]) child++;
    if (heap[child] >= last) break;
    heap[i] = heap[child];
    i = child;
  }
  if (heap.length) heap[i] = last;
  return top;
}
