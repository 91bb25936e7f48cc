"""Check a configuration against its JSON schema and say the first mistake in one short sentence."""

import argparse
import difflib
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from galmass.errors import InputError

# 900.0 is no integer, and true is no number
_Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)),
)


def load_schema(path: str | Path) -> dict:
    """The JSON schema in a YAML file."""
    return yaml.safe_load(Path(path).read_text())


def check(config: Mapping, schema: Mapping) -> None:
    """Raise `InputError` with the key, the value and what is allowed when `config` breaks the schema."""
    _refuse_non_finite(config)
    errors = sorted(_Validator(schema).iter_errors(config), key=lambda e: (len(e.absolute_path), str(e.absolute_path)))
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
    if error.validator == "pattern":  # of the names that the user chooses
        return f"{key} has the name {_short(error.instance)}; letters, digits, '_' and '-' are allowed"
    if error.validator == "minProperties":
        return f"{key} is empty; at least one entry is expected"
    return f"{key} is {_short(error.instance)}; {_allowed(schema)} is expected{_what(schema)}"


def _short(value) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


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
    if "multipleOf" in schema:
        limits.append(f"a multiple of {schema['multipleOf']}")
    unit = f" [{schema['unit']}]" if "unit" in schema else ""
    return " ".join([allowed, " and ".join(limits)]).strip() + _entries(schema) + unit


def _entries(schema: Mapping) -> str:
    """What the entries of a list may be: ' of 2 entries, each a number >= 0'."""
    if "items" not in schema:
        return ""
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    count = f"{least}" if least == most else f"at least {least}"
    return f" of {count} entries, each {_allowed(schema['items'])}" + (", none twice" if schema.get("uniqueItems") else "")


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
    """The table of config/README.md: key, type and range, default (of the first entry for `<name>`), meaning, readers."""
    lines = ["| key | allowed | default | meaning | read by |", "| --- | --- | --- | --- | --- |"]
    for key, node in rows(schema):
        default = _default(config, key.split("."))
        readers = ", ".join(f"`{rule}`" for rule in node["read_by"])
        lines.append(f"| `{key}` | {_allowed(node)} | {default} | {node['description']} | {readers} |")
    return "\n".join(lines) + "\n"


def _default(config, keys: list[str]) -> str:
    for key in keys:
        if key == "<name>" and isinstance(config, Mapping):
            key = next(iter(config), "")
        if not isinstance(config, Mapping) or key not in config:
            return ""
        config = config[key]
    return f"`{config}`"


def document(schema_path, config_path, readme_path, check_only: bool) -> bool:
    """Write the table of keys to `readme_path`, or only say whether it is up to date."""
    schema, config = load_schema(schema_path), load_schema(config_path)
    text = _PREFACE + markdown_table(schema, config)
    path = Path(readme_path)
    if not check_only:
        path.write_text(text)
    return path.is_file() and path.read_text() == text


_PREFACE = """# Configuration

`config.yaml` is the embedded default. Change single values with an overlay, a second file with only those keys:
`snakemake --cores all --configfile my.yaml`; lists are replaced, tables merged. The run refuses unknown keys and values
out of range before any job starts. `<name>` is a name of your choice; the default shown is that of the first entry. An
edit reruns the rules in the last column and what follows from them ("all rules": it decides what is built, and only what
is new runs). This file is generated from the schema (`make docs`).

"""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the table of configuration keys.")
    for name in ("schema", "config", "readme"):
        parser.add_argument(name)
    parser.add_argument("--check", action="store_true", help="fail if it is not up to date, write nothing")
    arguments = parser.parse_args()
    if not document(arguments.schema, arguments.config, arguments.readme, arguments.check):
        sys.exit(f"{arguments.readme} does not match {arguments.schema}: run make docs")
