"""The documentation site builds without warnings, needs no network and shows all public docstrings."""

from __future__ import annotations

import html
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
PUBLIC = ("augmentation", "export", "inference", "losses", "models", "models.decoders")
"""Packages with a list of public names (`__all__`)."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The text of each page of the site, by path."""
    pytest.importorskip("mkdocs", reason="pip install 'pixelwise[docs]'")
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return {str(file.relative_to(target)): file.read_text() for file in target.rglob("*.html")}


@pytest.mark.fast
def test_links_of_the_readme_exist() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text())
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.fast
@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda f: f.stem)
def test_files_named_in_a_page_exist(page: Path) -> None:
    text = page.read_text()
    file = re.compile(
        r"[^/\w](?:(?:src|tests|conf|scripts|benchmarks|sweeps)/[\w/.-]+\.(?:py|yaml|sbatch|bash))"
    )
    files = {name[1:] for name in file.findall(text)} - set(re.findall(r'title="(.+?)"', text))
    assert [name for name in files if not re.search("NAME|OPTION", name) and not (ROOT / name).exists()] == []


@pytest.mark.fast
def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 900


@pytest.mark.fast
def test_the_reading_path_is_short() -> None:
    named = re.findall(r"^\| `([\w/.]+)` \|", (ROOT / "docs/reading.md").read_text(), flags=re.M)
    files = [ROOT / name if (ROOT / name).is_file() else ROOT / "src/pixelwise" / name for name in named]
    assert 10 < len(files) <= 12
    assert sum(len(file.read_text().splitlines()) for file in files) < 1500


def test_every_page_is_in_the_navigation(site: dict[str, str]) -> None:
    pages = {str(file.relative_to(ROOT / "docs").with_suffix(".html")) for file in ROOT.glob("docs/**/*.md")}
    assert pages == set(site) - {"404.html"}
    assert pages <= set(re.findall(r'href="([^"#:]+\.html)"', site["index.html"]))


def test_no_page_loads_files_from_the_network(site: dict[str, str]) -> None:
    loads = re.compile(r'<(?:script|img|iframe|source)[^>]* src="([^"]+)"|<link [^>]*?href="([^"]+)"')
    for page, text in site.items():
        addresses = [a or b for a, b in loads.findall(text)]
        assert addresses
        assert not [address for address in addresses if re.match(r"(https?:)?//", address)], page


@pytest.mark.parametrize("package", PUBLIC)
def test_every_public_docstring_is_shown(package: str, site: dict[str, str]) -> None:
    module = importlib.import_module(f"pixelwise.{package}")
    text = site[f"api/{package.split('.')[0]}.html"]
    words = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", text)))
    for name in module.__all__:
        assert f'id="pixelwise.{package}.{name}"' in text
        first = (inspect.getdoc(getattr(module, name)) or "").split("\n\n")[0].replace("`", "")
        assert re.sub(r"\s+", " ", first) in words, name


def test_shapes_in_docstrings_are_shown(site: dict[str, str]) -> None:
    assert "Scalar loss of (B, K[, H, W]) logits and a (B[, H, W]) target." in site["api/losses.html"]
    assert "(B, D, h, w)" in site["api/models.html"]


def test_the_script_of_the_first_page_runs() -> None:
    (script,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/index.md").read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(script.replace("logits = classifier", "labels = classifier"), names)
    logits, labels, loss = names["logits"], names["labels"], names["loss"]
    assert isinstance(logits, torch.Tensor)
    assert logits.shape == (2, 3, 96, 96)
    assert isinstance(labels, torch.Tensor)
    assert labels.shape == (2, 3)
    assert isinstance(loss, torch.Tensor)
    assert 0 < loss.item() < 1
