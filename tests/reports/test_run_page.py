"""Reports of runs and sweeps: content, reproducible output, and display in a browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.helpers import Script
from tests.sweeps.test_summary import sweep_of

from pixelwise.sweeps import summary

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

PROBE = """<script>
addEventListener("load", () => {
  const images = [...document.images];
  document.body.setAttribute("data-probe", JSON.stringify({
    images: images.length,
    decoded: images.filter(image => image.complete && image.naturalWidth > 0).length,
    requested: performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith("data:")),
    tallest: Math.max(0, ...images.map(image => image.clientHeight)),
    wider: document.documentElement.scrollWidth - innerWidth,
  }));
});
</script>"""


def browser() -> str:
    path = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"there is no browser: {', '.join(BROWSERS)}")
    return path


def open_page(page: Path, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page in a headless browser: its DOM on standard output, its console on standard error."""
    common = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--log-level=0"]
    quiet = ["--disable-background-networking", "--no-first-run", f"--user-data-dir={profile}"]
    command = [browser(), *common, *quiet, *options, "--dump-dom", page.as_uri()]
    environment = dict(os.environ) | {"HOME": str(profile)}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=environment)


def test_report_of_a_segmenter_shows_the_files_of_its_run(trained: Path) -> None:
    page = unescape((trained / "report.html").read_text())
    final = json.loads((trained / "metrics.json").read_text())
    assert f"{final['test/miou']:.4f}" in page
    for label, value in {label: final[f"test/iou/{label}"] for label in ("background", "cat", "dog")}.items():
        assert label in page
        assert f"{value:.4f}" in page
    assert json.loads((trained / "environment.json").read_text())["command"] in page
    for title in ("Loss", "Validation scores", "Validation iou by class", "Learning-rate plan", "Throughput"):
        assert f"<figcaption>{title}" in page
    for kind in ("best", "median", "worst"):
        assert kind in {
            sample["kind"] for sample in json.loads((trained / "samples.json").read_text())["samples"]
        }
    assert re.search(r'alt="truth of test/\d+: background \d+%, ', page)
    assert "unfinished" not in page


def test_confusion_and_samples_agree_with_the_scores(trained: Path) -> None:
    final = json.loads((trained / "metrics.json").read_text())
    confusion = json.loads((trained / "confusion.json").read_text())
    matrix = confusion["matrix"]
    assert confusion["split"] == "test"
    assert sum(map(sum, matrix)) == 6 * 32 * 32
    hits = sum(matrix[i][i] for i in range(3))
    assert hits / sum(map(sum, matrix)) == pytest.approx(final["test/overall_accuracy"])
    samples = json.loads((trained / "samples.json").read_text())["samples"]
    scores = {
        kind: [s["score"] for s in samples if s["kind"] == kind] for kind in ("best", "median", "worst")
    }
    assert min(scores["best"]) >= max(scores["median"]) >= min(scores["median"]) >= max(scores["worst"])
    for sample in samples:
        assert Image.open(trained / sample["pictures"]["truth"]).size == (32, 32)


def test_report_of_a_classifier_shows_classes_and_no_masks(trained_classifier: Path) -> None:
    page = unescape((trained_classifier / "report.html").read_text())
    assert "Ordered by the predicted probability of the true class" in page
    assert re.search(r"truth: (background|road); prediction: (background|road)", page)
    assert 'alt="error' not in page
    assert "predicted as each class (column)" in page


def test_report_is_rewritten_from_the_folder_alone(trained: Path, script: Script, tmp_path: Path) -> None:
    moved = tmp_path / "moved here" / "run"
    shutil.copytree(trained, moved)
    (moved / "report.html").unlink()
    done = script("scripts/report.py", str(moved))
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(moved / "report.html")
    before = (trained / "report.html").read_text()
    assert (moved / "report.html").read_text() == before.replace(f">{trained.name}<", f">{moved.name}<")

    assert script("scripts/report.py").returncode == 2
    wrong = script("scripts/report.py", str(tmp_path))
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(f"error: run={tmp_path} is not a run folder")


def test_class_names_cannot_break_the_page(trained: Path, tmp_path: Path) -> None:
    from pixelwise.reports.run_page import write

    shutil.copytree(trained, tmp_path / "run")
    for name in ("config.yaml", "metrics.json", "metrics.csv", "confusion.json", "samples.json"):
        file = tmp_path / "run" / name
        file.write_text(re.sub(r"\bcat\b", "<script>x", file.read_text()))
    page = write(tmp_path / "run").read_text()
    assert "&lt;script&gt;x" in page
    assert "<script" not in page


def probe_in_browser(page: Path, folder: Path, width: int) -> dict[str, Any]:
    """Images, requests and overflow of a page in a browser, which must log no error."""
    plain = open_page(page, folder / "profile")
    assert "CONSOLE" not in plain.stderr
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    probed = folder / "probed.html"
    probed.write_text(text.replace("</body>", PROBE + "</body>"))
    done = open_page(probed, folder / "profile", f"--window-size={width},900")
    return json.loads(unescape(re.search(r'data-probe="([^"]*)"', done.stdout)[1]))  # type: ignore[index]


@pytest.mark.parametrize("width", [360, 1200])
def test_report_of_a_sweep_fits_its_window(tmp_path: Path, width: int) -> None:
    scores = {"dice_1": 0.5, "dice_2": 0.7, "focal_1": 0.2, "focal_2": None}
    summary.write(sweep_of(tmp_path / "s", scores))
    probe = probe_in_browser(tmp_path / "s/report.html", tmp_path, width)
    assert probe["requested"] == []
    assert probe["wider"] <= 0


@pytest.mark.parametrize("width", [360, 1200])
def test_report_of_a_run_displays_without_errors_or_requests(
    trained: Path, tmp_path: Path, width: int
) -> None:
    probe = probe_in_browser(trained / "report.html", tmp_path, width)
    assert probe["images"] == probe["decoded"] > 8
    assert probe["tallest"] < 900  # fits the window and a printed page; the mosaic of this batch is narrow
    assert probe["requested"] == []
    assert probe["wider"] <= 0
