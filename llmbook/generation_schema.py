"""Un schéma JSON sans récursion devient une expression régulière, donc un automate fini.

Toutes les propriétés d’un objet sont écrites, dans l’ordre du schéma. Un schéma récursif ($ref), ou
un mot-clé inconnu d’ici, est refusé plutôt qu’ignoré. L’idée est celle d’Outlines (arXiv:2307.09702).
"""

import json
import re

INTEGER = r"-?(0|[1-9][0-9]{0,14})"
NUMBER = INTEGER + r"(\.[0-9]{1,15})?([eE][+-]?[0-9]{1,2})?"
CHARACTER = '([^"\\\\\x00-\x1f]|\\\\["\\\\/bfnrt])'
KINDS = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: type(value) is int,
    "number": lambda value: type(value) in (int, float),
    "boolean": lambda value: type(value) is bool,
    "null": lambda value: value is None,
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
IGNORED = {"title", "description", "default", "examples", "$schema", "additionalProperties"}


def schema_to_regex(schema: dict, max_items: int = 8) -> str:
    """L’expression, pour `compile_regex`, des textes JSON valides selon `schema`.

    Mots-clés : type, enum, const, anyOf, properties, required, items, minItems, maxItems,
    minLength, maxLength. max_items : longueur d’une liste qui n’annonce pas la sienne.
    """
    if not isinstance(schema, dict):
        raise ValueError(f"schéma {schema!r} : un objet (dict) est attendu")
    known = {"type"}
    if "const" in schema or "enum" in schema:
        known |= {"const", "enum"}
        values = schema["enum"] if "enum" in schema else [schema["const"]]
        if not values:
            raise ValueError("enum vide : aucune valeur ne serait permise")
        if "const" in schema and schema["const"] not in values:
            raise ValueError("contraintes contradictoires : const n’est pas dans enum")
        values = [schema["const"]] if "const" in schema else values
        fits = KINDS.get(schema.get("type"), lambda value: True)
        if not all(map(fits, values)):
            raise ValueError(f"contraintes contradictoires : {values} n’est pas {schema['type']}")
        regex = _any(re.escape(json.dumps(v, ensure_ascii=False)) for v in values)
    elif "anyOf" in schema:
        known |= {"anyOf"}
        regex = _any(schema_to_regex(option, max_items) for option in schema["anyOf"])
    else:
        kind = schema.get("type")
        if kind == "object":
            known |= {"properties", "required"}
            regex = _object(schema, max_items)
        elif kind == "array":
            known |= {"items", "minItems", "maxItems"}
            regex = _array(schema, max_items)
        elif kind == "string":
            known |= {"minLength", "maxLength"}
            low, high = schema.get("minLength", 0), schema.get("maxLength", "")
            _check_bounds("minLength", low, "maxLength", high)
            regex = f'"{CHARACTER}{{{low},{high}}}"'
        elif kind in ("integer", "number", "boolean", "null"):
            simple = {"integer": INTEGER, "number": NUMBER, "boolean": "(true|false)"}
            regex = simple.get(kind, "null")
        else:
            raise ValueError(
                f"type {kind!r} : object, array, string, integer, number, boolean, null"
            )
    unknown = schema.keys() - known - IGNORED
    if unknown:
        raise ValueError(
            f"mot-clé non traité : {', '.join(sorted(unknown))} ; retirez-le du schéma, ou prenez "
            "JsonAutomaton, qui accepte tout texte JSON, et vérifiez ensuite"
        )
    return regex


def _object(schema: dict, max_items: int) -> str:
    properties = schema.get("properties", {})
    missing = set(schema.get("required", ())) - set(properties)
    if missing:
        raise ValueError(f"propriété exigée mais non décrite : {', '.join(sorted(missing))}")
    fields = [
        re.escape(json.dumps(name, ensure_ascii=False)) + ": ?" + schema_to_regex(value, max_items)
        for name, value in properties.items()
    ]
    return r"\{" + ", ?".join(fields) + r"\}"


def _array(schema: dict, max_items: int) -> str:
    low = schema.get("minItems", 0)
    high = schema.get("maxItems", max(low, max_items))
    _check_bounds("minItems", low, "maxItems", high)
    if "items" not in schema:
        raise ValueError("items manque : dites ce que la liste contient")
    item = schema_to_regex(schema["items"], max_items)
    if high == 0:
        return r"\[\]"
    regex = f"({item})(, ?({item})){{{max(low - 1, 0)},{high - 1}}}"
    return rf"\[({regex})\]" if low else rf"\[({regex})?\]"


def _check_bounds(low_name: str, low: int, high_name: str, high) -> None:
    if high != "" and high < low:
        raise ValueError(f"contraintes contradictoires : {low_name}={low} > {high_name}={high}")


def _any(options) -> str:
    options = list(options)
    if not options:
        raise ValueError("anyOf vide : aucune valeur ne serait permise")
    return "(" + "|".join(options) + ")"
