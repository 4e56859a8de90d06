"""All files are written completely or not at all: only inside `pixelwise.files.whole_*`, or listed here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"

WHOLE = {"whole_file", "whole_files", "whole_folder"}
"""Contexts inside which files may be written: they get their names at the end."""

WRITERS = {
    *("write_text", "write_bytes", "savefig", "imwrite", "to_csv", "tofile", "touch", "save_file", "savez"),
    *("savez_compressed", "open_memmap", "copyfile", "copy2", "copytree", "move", "rename", "symlink_to"),
    *("extractall", "urlretrieve", "write_image", "write_video", "hardlink_to", "pwrite", "ftruncate"),
}
"""Calls that write a file, whatever their arguments."""

ELSEWHERE = {
    "pixelwise/files.py": "is what the others go through",
    "pixelwise/runs/lock.py:_take": "the system locks one file, which keeps its name",
    "pixelwise/runs/folder.py:_point_latest": "renames a link, which is no content",
    "pixelwise/sweeps/search.py:_start": "the output of another process, appended as it comes",
    "pixelwise/sweeps/search.py:_lock": "an empty file",
    "pixelwise/training/callbacks/checkpoint.py:save_last": "renames whole files",
    "pixelwise/training/callbacks/ending.py:_take_back": "renames a whole file",
    "pixelwise/prediction/map_file.py:__init__": "its callers open it inside `whole_files`",
    "pixelwise/drawn/city/potsdam_release.py:_write_tiff": "its caller calls it inside `whole_file`",
    "pixelwise/reports/chart.py:svg": "into memory",
    "pixelwise/reports/run_page.py:inline": "into memory",
    "pixelwise/data/tiles/cache.py:new": "in the folder of `whole_folder`",
    "pixelwise/data/tiles/cache.py:_write": "in the folder of `whole_folder`",
    "pixelwise/export/export.py:write_sample": "in the folder of `whole_folder`",
    "pixelwise/export/hub.py:write": "in the folder of `whole_folder`",
    "pixelwise/export/timm_twin.py:write_twin": "in the folder of `whole_folder`",
    "pixelwise/export/torch_export.py:write": "in the folder of `whole_folder`",
    "pixelwise/export/onnx_format.py:write": "in the folder of `whole_folder`",
}
"""Why a function may write a file itself."""


def writes(call: ast.Call) -> bool:
    """Whether a call writes a file, as far as its text says."""
    if isinstance(call.func, ast.Name) and call.func.id != "open":
        return False
    name = call.func.attr if isinstance(call.func, ast.Attribute) else "open"
    if ast.unparse(call.func) == "files.write_text":
        return False
    texts = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    texts += [k.value.value for k in call.keywords if k.arg == "mode" and isinstance(k.value, ast.Constant)]
    if name in ("open", "ZipFile", "fdopen"):
        flags = "O_CREAT" in ast.unparse(call)
        return flags or any(len(text) < 4 and set(text) & set("wax+") for text in texts)
    if name in ("save", "dump"):  # of PIL, NumPy, torch, ONNX, OmegaConf; `logger.save()` has no argument
        return bool(call.args)
    if name == "replace":  # of a path; that of a text has two arguments
        return len(call.args) == 1 and not call.keywords
    return name in WRITERS


def found(node: ast.AST, function: str, inside: bool) -> Iterator[tuple[str, int]]:
    """The functions that write files outside of a `whole_*` block, with the line."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        function, inside = node.name, False
    if isinstance(node, ast.With):
        names = {getattr(item.context_expr, "func", None) for item in node.items}
        inside |= bool(WHOLE & {getattr(name, "id", getattr(name, "attr", "")) for name in names})
    if isinstance(node, ast.Call) and not inside and writes(node):
        yield function, node.lineno
    for child in ast.iter_child_nodes(node):
        yield from found(child, function, inside)


@pytest.mark.fast
def test_files_are_written_completely_or_not_at_all() -> None:
    direct: dict[str, list[int]] = {}
    for file in sorted(SOURCE.rglob("*.py")):
        name = file.relative_to(SOURCE).as_posix()
        for function, line in found(ast.parse(file.read_text()), "", False):
            direct.setdefault(name if name in ELSEWHERE else f"{name}:{function}", []).append(line)
    new = {place: lines for place, lines in direct.items() if place not in ELSEWHERE}
    assert not new, "use pixelwise.files.whole_file, or say above why it cannot be used"
    assert not set(ELSEWHERE) - set(direct), "these write no file any more"


@pytest.mark.fast
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("Path('a').write_text('x')", True),
        ("open('a', 'w')", True),
        ("Path('a').open('ab')", True),
        ("Path('a').open(mode='x')", True),
        ("rasterio.open(file, 'w', **settings)", True),
        ("os.open(file, os.O_RDWR | os.O_CREAT)", True),
        ("image.save(file)", True),
        ("np.save(file, array)", True),
        ("part.replace(file)", True),
        ("with whole_file(file) as part:\n    part.write_text('x')", False),
        ("with a, files.whole_files(stem, ['']) as part:\n    image.save(part)", False),
        ("with whole_file(file) as part:\n    pass\nimage.save(file)", True),
        ("with whole_file(f) as p:\n    def g():\n        image.save(f)", True),
        ("Path('a').open()", False),
        ("Path('a').open('rb')", False),
        ("text.replace('a', 'b')", False),
        ("logger.save()", False),
        ("files.write_text(file, text)", False),
        ("write_text(file, text)", False),
    ],
)
def test_what_writes_a_file_is_found(code: str, expected: bool) -> None:
    assert bool(list(found(ast.parse(code), "", False))) == expected
