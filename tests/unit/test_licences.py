"""What the default install may be used under."""

from importlib import metadata
from pathlib import Path

import pytest

from galmass.licences import UNSAID, licence, licences, main, needs_gpl

ROOT = Path(__file__).parents[2]
# Snakemake's own packages leave the field empty; their LICENSE files say MIT
UNSAID_BUT_MIT = ("snakemake-interface-", "snakemake-executor-plugin-", "snakemake-logger-plugin-", "conda-inject")


@pytest.fixture(scope="module")
def found():
    return licences(ROOT / "requirements.lock")


@pytest.mark.parametrize("text", ["GPL-3.0-or-later", "GNU General Public License v2 (GPLv2)", "AGPL-3.0-only", "GNU Affero General Public License v3"])
def test_gpl_is_recognised(text):
    assert needs_gpl(text)


@pytest.mark.parametrize(
    "text", ["GNU Lesser General Public License v3 (LGPLv3)", "LGPL-2.1-or-later", "MIT", "Public Domain, BSD License, GNU General Public License (GPL)"]
)
def test_lgpl_and_a_choice_are_not_the_gpl(text):
    assert not needs_gpl(text)


def test_default_install_needs_no_gpl(found):
    assert len(found) > 100
    assert [name for name, text in found.items() if needs_gpl(text)] == []


def test_every_package_says_its_licence(found):
    assert [name for name, text in found.items() if text == UNSAID and not name.startswith(UNSAID_BUT_MIT)] == []


def test_expression_comes_before_classifiers_before_the_field(tmp_path):
    package = tmp_path / "a-1.dist-info"
    package.mkdir()
    said = ["License: BSD\n text", "Classifier: License :: OSI Approved :: MIT License", "License-Expression: Apache-2.0"]
    for count, expected in enumerate(["BSD", "MIT License", "Apache-2.0"], start=1):
        (package / "METADATA").write_text("\n".join(["Metadata-Version: 2.4", "Name: a", "Version: 1", *said[:count], ""]))
        assert licence(metadata.PathDistribution(package)) == expected


def test_page_out_of_date_is_said(tmp_path, capsys):
    lock, target = tmp_path / "lock", tmp_path / "docs" / "licences.md"
    lock.write_text("numpy==1.0\n")
    assert main(str(lock), str(target), "--check") == 1
    assert "make docs" in capsys.readouterr().err
    main(str(lock), str(target))
    assert main(str(lock), str(target), "--check") == 0


def test_package_that_is_not_installed_is_named(tmp_path):
    (tmp_path / "lock").write_text("no-such-package==1.0\n")
    with pytest.raises(ValueError, match="no-such-package"):
        licences(tmp_path / "lock")
