"""Files are there whole, or as they were before."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.figure
import pytest
from PIL import Image
from tests.helpers import refused

from pixelwise import files
from pixelwise.reports.drawing import save_picture

pytestmark = pytest.mark.fast


def stop(*_: Any, **__: Any) -> None:
    raise OSError("the disk is full")


def rows() -> Any:
    yield ["a"]
    stop()


class Unwritable(matplotlib.figure.Figure):
    def savefig(self, file: Any, **_: Any) -> None:
        Path(file).write_bytes(b"half")
        stop()


WRITERS: dict[str, Callable[[Path], None]] = {
    "text": lambda file: files.write_text(file, "\ud800"),  # has no form in UTF-8
    "json": lambda file: files.write_json(file, {"a": object()}),
    "rows": lambda file: files.write_rows(file, rows()),
    "image": lambda file: save_picture(Image.new("LA", (4, 4)), file.with_suffix(".jpg")),
    "figure": lambda file: save_picture(Unwritable(), file),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    for suffix in ("png", "jpg"):
        (tmp_path / f"file.{suffix}").write_text("before")
    with pytest.raises((OSError, TypeError, ValueError)):
        WRITERS[name](tmp_path / "file.png")
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == dict.fromkeys(
        ("file.png", "file.jpg"), "before"
    )


def write_half(stem: Path) -> None:
    with files.whole_files(stem, [".tif", "_b.csv"]) as part:
        part[".tif"].write_text("done")
        stop()


def test_files_of_one_block_appear_together(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new/a.tif.part").write_text("left by a killed process")
    with pytest.raises(OSError, match="full"):
        write_half(tmp_path / "new/a")
    assert not list((tmp_path / "new").iterdir())
    with files.whole_files(tmp_path / "other/a", [".tif", "_b.csv"]) as part:
        for path in part.values():
            path.write_text("done")
    assert {file.name for file in (tmp_path / "other").iterdir()} == {"a.tif", "a_b.csv"}


def test_a_folder_appears_complete_or_not_at_all(tmp_path: Path) -> None:
    def write(fails: bool) -> None:
        with files.whole_folder(tmp_path / "above/new") as part:
            (part / "a").write_text("done")
            if fails:
                stop()

    with pytest.raises(OSError, match="full"):
        write(fails=True)
    assert list((tmp_path / "above").iterdir()) == []
    write(fails=False)
    assert [str(p.relative_to(tmp_path / "above")) for p in (tmp_path / "above").rglob("*")] == [
        "new",
        "new/a",
    ]
    assert (tmp_path / "above/new").stat().st_mode == (tmp_path / "above").stat().st_mode
    with pytest.raises(OSError, match="not empty"):
        write(fails=False)


def test_what_a_killed_process_left_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.tif.part").write_text("half")
    with files.whole_files(tmp_path / "a", [".tif"]) as part:
        assert not part[".tif"].exists()  # GDAL would refuse to replace it
        part[".tif"].touch()


def test_a_place_is_tried_without_leaving_anything(tmp_path: Path) -> None:
    files.check_writable("output", tmp_path / "new/folder/x.json", folder=False)
    files.check_writable("output", tmp_path, folder=True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with refused(r"output=[\s\S]*found: +a file[\s\S]*a folder, or a new path"):
        files.check_writable("output", tmp_path / "file", folder=True)
    with refused(r"output=.*cannot be written[\s\S]*another"):
        files.check_writable("output", tmp_path / "file/x", folder=True, fix="another place")


def test_free_space_is_that_of_the_disk_of_a_new_file(tmp_path: Path) -> None:
    text = files.free_space(tmp_path / "new/file")
    number, disk = text.replace(",", "").split(" bytes free on ")
    assert Path(disk).is_mount()
    assert tmp_path.is_relative_to(disk)
    assert int(number) > 0


@pytest.mark.parametrize(("suffix", "kind"), [("png", "PNG"), ("jpg", "JPEG")])
def test_a_picture_has_the_format_of_its_name(tmp_path: Path, suffix: str, kind: str) -> None:
    for name, picture in {"image": Image.new("RGB", (4, 4)), "figure": matplotlib.figure.Figure()}.items():
        file = tmp_path / "folder" / f"{name}.{suffix}"
        save_picture(picture, file)
        assert Image.open(file).format == kind
    assert len([*(tmp_path / "folder").iterdir()]) == 2


def write_often(file: Path, text: str) -> None:
    for _ in range(200):
        files.write_text(file, text)


def test_processes_that_write_one_file_do_not_mix(tmp_path: Path) -> None:
    texts = ["a" * 9999, "b" * 5000]
    writers = [
        multiprocessing.get_context("fork").Process(target=write_often, args=(tmp_path / "f", text))
        for text in texts
    ]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if (tmp_path / "f").exists():
            assert (tmp_path / "f").read_text() in texts
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert [file.name for file in tmp_path.iterdir()] == ["f"]


def test_text_is_utf_8(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", {"key": "Straße – 1"})
    assert "Straße – 1" in (tmp_path / "a.json").read_bytes().decode()
    assert files.read_json(tmp_path / "a.json") == {"key": "Straße – 1"}
