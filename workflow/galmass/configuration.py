"""Check a configuration against its JSON schema and say the first mistake in one short sentence."""

import difflib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator

from galmass.errors import InputError


def load_schema(path: str | Path) -> dict:
    """The JSON schema in a YAML file."""
    return yaml.safe_load(Path(path).read_text())


def check(config: Mapping, schema: Mapping) -> None:
    """Raise `InputError` with the key, the value and what is allowed when `config` breaks the schema."""
    _refuse_non_finite(config)
    errors = sorted(Draft202012Validator(schema).iter_errors(config), key=lambda e: (len(e.absolute_path), str(e.absolute_path)))
    if errors:
        raise InputError(f"config: {_sentence(errors[0])}")


def _refuse_non_finite(value, path: tuple = ()) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _refuse_non_finite(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            _refuse_non_finite(item, (*path, i))
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"config: {_key(path)} is {value}, which is no finite number")


def _key(path) -> str:
    return ".".join(map(str, path)) or "the top level"


def _sentence(error) -> str:
    """One sentence for one jsonschema error."""
    key, schema = _key(error.absolute_path), error.schema
    if error.validator == "additionalProperties":
        known = sorted(schema.get("properties", {}))
        unknown = next(name for name in error.instance if name not in known)
        near = difflib.get_close_matches(str(unknown), known, n=1)
        return f"{key} has the unknown key '{unknown}'" + (f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}")
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return f"{key} lacks the key '{missing}'"
    if error.validator == "propertyNames":
        return f"{key} has the name {error.instance!r}; letters, digits, '_' and '-' are allowed"
    return f"{key} is {error.instance!r}; {_allowed(schema)} is expected{_what(schema)}"


def _what(schema: Mapping) -> str:
    description = schema.get("description", "")
    return f" ({description.rstrip('.')})" if description else ""


def _allowed(schema: Mapping) -> str:
    """What a schema node allows, in words: 'one of a, b', 'a number > 0 and <= 1 [dex]'."""
    if "enum" in schema:
        return "one of " + ", ".join(map(str, schema["enum"]))
    kind = schema.get("type", "another value")
    words = {"integer": "an integer", "number": "a number", "string": "a text", "boolean": "true or false", "array": "a list", "object": "a table of keys"}
    allowed = " or ".join(words.get(k, "nothing (null)") for k in ([kind] if isinstance(kind, str) else kind))
    limits = [
        f"{sign} {schema[name]}"
        for name, sign in (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<"))
        if name in schema
    ]
    limits += [f"of {sign} {schema[name]} entries" for name, sign in (("minItems", ">="), ("maxItems", "<=")) if name in schema]
    if schema.get("uniqueItems"):
        limits.append("without repeats")
    unit = f" [{schema['unit']}]" if "unit" in schema else ""
    return " ".join([allowed, " and ".join(limits)]).strip() + unit


def rows(schema: Mapping, path: tuple = ()) -> Iterator[tuple[str, Mapping]]:
    """Every leaf key of a schema with its node, ``<name>`` standing for names that the user chooses."""
    for name, node in schema.get("properties", {}).items():
        yield from _leaf_or_rows(node, (*path, name))
    if isinstance(schema.get("additionalProperties"), Mapping):
        yield from _leaf_or_rows(schema["additionalProperties"], (*path, "<name>"))


def _leaf_or_rows(node: Mapping, path: tuple) -> Iterator[tuple[str, Mapping]]:
    if "properties" in node or isinstance(node.get("additionalProperties"), Mapping):
        yield from rows(node, path)
    else:
        yield ".".join(path), node


def markdown_table(schema: Mapping, config: Mapping) -> str:
    """The table of config/README.md: key, type and range, default, meaning, rules that read it."""
    lines = ["| key | allowed | default | meaning | read by |", "| --- | --- | --- | --- | --- |"]
    for key, node in rows(schema):
        default = "" if "<name>" in key else _default(config, key.split("."))
        readers = ", ".join(f"`{rule}`" for rule in node["read_by"])
        lines.append(f"| `{key}` | {_allowed(node)} | {default} | {node['description']} | {readers} |")
    return "\n".join(lines) + "\n"


def _default(config, keys: list[str]) -> str:
    for key in keys:
        if not isinstance(config, Mapping) or key not in config:
            return ""
        config = config[key]
    return f"`{config}`"
