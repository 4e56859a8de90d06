"""The site below docs/ builds without a warning, asks nothing of the network and shows the docstrings."""

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
"""Packages that say what is public of them."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Each page of the site, by its path."""
    pytest.importorskip("mkdocs", reason="pip install 'pixelwise[docs]'")
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return {str(file.relative_to(target)): file.read_text() for file in target.rglob("*.html")}


@pytest.mark.fast
def test_what_the_readme_links_to_exists() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", (ROOT / "README.md").read_text())
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.fast
@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda f: f.stem)
def test_files_that_a_page_speaks_of_exist(page: Path) -> None:
    text = page.read_text()
    file = re.compile(
        r"[^/\w](?:(?:src|tests|conf|scripts|benchmarks|sweeps)/[\w/.-]+\.(?:py|yaml|sbatch|bash))"
    )
    named = {name[1:] for name in file.findall(text)} - set(re.findall(r'title="(.+?)"', text))
    assert [name for name in named if not re.search("NAME|OPTION", name) and not (ROOT / name).exists()] == []


def test_every_page_is_in_the_navigation(site: dict[str, str]) -> None:
    pages = {str(file.relative_to(ROOT / "docs").with_suffix(".html")) for file in ROOT.glob("docs/**/*.md")}
    assert pages == set(site) - {"404.html"}
    assert pages <= set(re.findall(r'href="([^"#:]+\.html)"', site["index.html"]))


def test_no_page_asks_anything_of_the_network(site: dict[str, str]) -> None:
    loads = re.compile(r'<(?:script|img|iframe|source)[^>]* src="([^"]+)"|<link [^>]*?href="([^"]+)"')
    for page, text in site.items():
        wanted = [a or b for a, b in loads.findall(text)]
        assert wanted
        assert not [address for address in wanted if re.match(r"(https?:)?//", address)], page


@pytest.mark.parametrize("package", PUBLIC)
def test_every_public_name_is_shown_with_its_docstring(package: str, site: dict[str, str]) -> None:
    module = importlib.import_module(f"pixelwise.{package}")
    text = site[f"api/{package.split('.')[0]}.html"]
    words = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", text)))
    for name in module.__all__:
        assert f'id="pixelwise.{package}.{name}"' in text
        first = (inspect.getdoc(getattr(module, name)) or "").split("\n\n")[0].replace("`", "")
        assert re.sub(r"\s+", " ", first) in words, name


def test_shapes_are_shown(site: dict[str, str]) -> None:
    assert "Scalar loss of (B, K[, H, W]) logits and a (B[, H, W]) target." in site["api/losses.html"]
    assert "(B, D, h, w)" in site["api/models.html"]


def test_the_first_page_tells_the_truth_about_its_own_script() -> None:
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
