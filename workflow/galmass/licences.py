"""Licences of what an installation holds, as a page: ``python -m galmass.licences requirements.lock docs/licences.md [--check]``.

Read from the metadata that each installed package carries; nothing is looked up elsewhere.
"""

import re
import sys
from importlib import metadata
from pathlib import Path

# the General Public License alone: not the Lesser one, and not where another licence may be chosen
GPL = re.compile(r"(?<!L)\b(?:A?GPL|GNU (?:Affero )?General Public)", re.IGNORECASE)
CHOICE = re.compile(r"BSD|MIT|Apache|LGPL|Lesser|Public Domain| OR ", re.IGNORECASE)
UNSAID = "not said"


def licence(package: metadata.Distribution) -> str:
    """Licence expression, else the classifiers, else the first line of the licence field."""
    said = package.metadata
    classifiers = [c.rpartition("::")[2].strip() for c in said.get_all("Classifier", []) if c.startswith("License ::")]
    text = (said.get("License") or "").strip().partition("\n")[0]
    return said.get("License-Expression") or ", ".join(classifiers) or text or UNSAID


def needs_gpl(text: str) -> bool:
    """Whether a licence binds whoever distributes the package to the GPL: the LGPL does not, nor one of several."""
    return bool(GPL.search(text)) and not CHOICE.search(text)


def licences(lock: str | Path) -> dict[str, str]:
    """Licence of torch and of every package of a lock file, by name.

    Raises
    ------
    ValueError
        When one of them is not installed here: nothing would be known about it.
    """
    names = sorted({"torch", *re.findall(r"^([\w.-]+)==", Path(lock).read_text(), re.MULTILINE)})
    installed = {re.sub(r"[-_.]+", "-", d.name).lower(): d for d in metadata.distributions()}
    missing = [name for name in names if re.sub(r"[-_.]+", "-", name) not in installed]
    if missing:
        raise ValueError(f"{lock} names what is not installed here: {', '.join(missing)}")
    return {name: licence(installed[re.sub(r"[-_.]+", "-", name)]) for name in names}


def page(found: dict[str, str]) -> str:
    """Markdown table of licences."""
    rows = "".join(f"| {name} | {text.replace('|', '/')} |\n" for name, text in found.items())
    head = "# Licences of the dependencies\n\nOf torch and requirements.lock, as each package says itself; `make docs` writes this page.\n\n"
    return f"{head}| package | licence |\n| --- | --- |\n{rows}"


def main(lock: str, target: str, *flags: str) -> int:
    """Write the page, or with ``--check`` say whether it is up to date."""
    text = page(licences(lock))
    if "--check" not in flags:
        Path(target).parent.mkdir(exist_ok=True)
        Path(target).write_text(text)
        return 0
    current = Path(target).is_file() and Path(target).read_text() == text
    if not current:
        print(f"{target} is out of date: make docs", file=sys.stderr)
    return 0 if current else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
