// Lire tokenizer.json, comme llmbook/tokenizer_json.py : le vocabulaire, les fusions, les marques et
// les motifs de découpe d’un BPE d’octets. Ce que nous ne savons pas faire est refusé, jamais mal lu.

const GPT2 = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`;

// Le caractère visible de chaque octet : lui-même s’il s’imprime, sinon chr(256), chr(257)…
export const CHARS = [];
for (let byte = 0, next = 256; byte < 256; byte++) {
  const isPrintable = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  CHARS.push(String.fromCharCode(isPrintable ? byte : next++));
}
const BYTES = new Map(CHARS.map((char, byte) => [char, byte]));

// {vocab, merges, specials, patterns, nfc, wholeWords} ; vocab : [caractères visibles, numéro].
export function read(json) {
  try {
    return readDocument(typeof json === "string" ? JSON.parse(json) : json);
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error;
    throw new Error(`tokenizer.json est abîmé, ou n’en est pas un : ${error.message}`, { cause: error });
  }
}

function readDocument({ model, normalizer, pre_tokenizer, added_tokens }) {
  if ((model.type ?? "BPE") !== "BPE") throw refused(`un modèle ${model.type}`);
  for (const option of ["byte_fallback", "dropout", "continuing_subword_prefix", "end_of_word_suffix"])
    if (model[option]) throw refused(`${option}=${model[option]}`);
  if (normalizer && normalizer.type !== "NFC") throw refused(`la normalisation ${normalizer.type}`);
  const specials = new Map();
  for (const { content, id, lstrip, rstrip, single_word } of added_tokens ?? []) {
    if (lstrip || rstrip || single_word) throw refused(`la marque « ${content} » qui déborde sur le texte voisin`);
    if (!content.trim()) throw refused("des blancs pour marques");
    specials.set(content, id);
  }
  return {
    vocab: Object.entries(model.vocab),
    merges: model.merges.map((pair) => (typeof pair === "string" ? pair.split(" ") : pair)),
    specials,
    patterns: readPatterns(pre_tokenizer).map(compilePattern),
    nfc: Boolean(normalizer),
    wholeWords: Boolean(model.ignore_merges),
  };
}

function readPatterns(preTokenizer) {
  const steps = preTokenizer?.type === "Sequence" ? preTokenizer.pretokenizers : [preTokenizer];
  const last = steps.at(-1);
  if (last?.type !== "ByteLevel") throw refused("une découpe sans ByteLevel");
  if (last.add_prefix_space ?? true) throw refused("add_prefix_space=true");
  const patterns = steps.slice(0, -1).map((step) => {
    if (step.type !== "Split" || step.behavior !== "Isolated" || step.invert || !step.pattern.Regex)
      throw refused(`la découpe ${JSON.stringify(step)}`);
    return step.pattern.Regex;
  });
  return last.use_regex ?? true ? [...patterns, GPT2] : patterns;
}

// Les octets d’un token écrit en caractères visibles : "Ġa" → [32, 97].
export function visibleBytes(text) {
  const bytes = Array.from(text, (char) => BYTES.get(char));
  if (bytes.includes(undefined)) throw refused(`le token « ${text} », qui n’est pas écrit octet par octet`);
  return Uint8Array.from(bytes);
}

// Du motif de Python à celui du navigateur : mêmes découpes, au caractère près.
export function compilePattern(pattern) {
  const source = expandCase(pattern).replace(/\[(?:\\.|[^\]\\])*\]|\\.|[.$]/gs, (found) => {
    if (found === ".") return "[^\\n]";
    if (found === "$") throw refused("$ dans sa découpe");
    return found.replace(/\\(.)/gs, translateEscape);
  });
  try {
    return new RegExp(source, "gu");
  } catch (error) {
    throw new Error(`motif de découpe illisible : ${error.message}`, { cause: error });
  }
}

// Le \s de Python compte U+0085 et pas U+FEFF ; celui du navigateur, le contraire.
function translateEscape(escape, char) {
  if (char === "s") return "\\p{White_Space}";
  if (char === "S") return "\\P{White_Space}";
  if (char === "d") return "\\p{Nd}";
  if (/[wWbBDAZX]/.test(char)) throw refused(`${escape} dans sa découpe`);
  // Le navigateur refuse une barre inutile : \' devient '.
  return /[\p{P}\p{S} ]/u.test(char) && !/[\\^$.*+?()[\]{}|/-]/.test(char) ? char : escape;
}

// (?i:'s|…), que tous les navigateurs n’ont pas, devient (?:'[sSſ]|…) : ſ compte pour s, K pour k.
function expandCase(pattern) {
  const cases = (c) => c.toLowerCase() + c.toUpperCase() + ({ s: "ſ", k: "\u212a" }[c.toLowerCase()] ?? "");
  return pattern.replace(/\(\?i:([^()\\-]*)\)/g, (_, inside) => {
    const expanded = inside.replace(/\[[^\]]*\]|[a-z]/gi, (found) =>
      found[0] === "[" ? found.replace(/[a-z]/gi, cases) : `[${cases(found)}]`);
    return `(?:${expanded})`;
  });
}

function refused(what) {
  return new Error(`tokenizer.json demande ${what}, que nous ne savons pas faire : choisissez un autre tokeniseur`);
}
