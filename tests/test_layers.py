"""Data flows one way through the packages; so must the imports."""

import ast
import gc
import subprocess
import sys
from pathlib import Path

import pytest

from zsaudio.cli import common
from zsaudio.errors import ModelError

PACKAGE = Path(__file__).parents[1] / "zsaudio"
# From the ground up. A package imports from its own floor only itself, else from floors below.
FLOORS = (
    {"errors", "files", "tables"},
    {"configs", "label_files", "labels", "results", "audio", "storage"},
    {"models"},
    {"detection"},
    {"recognizer", "output"},
    {"evaluation"},
    {"learning", "listening"},
    {"archive"},
    {"description", "ray"},
    {"app"},
    {"cli"},
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}


def imports(path: Path) -> set[str]:
    """Return the rooms of zsaudio that a module imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{path} has a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("zsaudio.")} & set(FLOOR)


def test_no_package_imports_from_a_floor_above() -> None:
    checked = 0
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if room.startswith("__"):
            continue  # the front door knows all rooms
        for other in imports(path) - {room}:
            assert FLOOR[other] <= FLOOR[room], f"{path} imports zsaudio.{other}"
            checked += 1
    assert checked > 100


def test_every_package_has_a_floor() -> None:
    rooms = {
        path.stem
        for path in PACKAGE.iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").exists()) and not path.stem.startswith("__")
    }
    assert rooms == set(FLOOR)


def test_import_and_help_load_no_heavy_module() -> None:
    code = """
import sys
import zsaudio, zsaudio.cli
heavy = {"torch", "transformers", "librosa", "numpy", "av", "soundfile", "yaml", "ray", "rich.progress"}
print(sorted(heavy & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_command_starts_without_collecting_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "is_process", True)
    before = gc.get_freeze_count()
    with pytest.raises(ModelError), common.starting():
        assert not gc.isenabled()
        raise ModelError("no such model")
    assert gc.isenabled() and gc.get_freeze_count() > before
    gc.unfreeze()


def test_a_page_is_built_before_torch_is_imported() -> None:
    pytest.importorskip("gradio")
    code = """
import sys
from zsaudio.app.desk import Settings
from zsaudio.app.server import build
build(Settings("siren", load=None))
print(sorted({"torch", "librosa"} & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_it_can_be_imported_beside_a_folder_of_its_name(tmp_path: Path) -> None:
    """As from the folder that a clone is in."""
    (tmp_path / "zsaudio").mkdir()
    code = "import zsaudio; print(zsaudio.Recognizer.__name__)"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "Recognizer\n"


@pytest.mark.parametrize(("folder", "other"), [("benchmarks", "training"), ("training", "benchmarks")])
def test_benchmarks_and_recipes_do_not_import_each_other(folder: str, other: str) -> None:
    for path in (PACKAGE.parent / folder).rglob("*.py"):
        assert f"from {other}" not in path.read_text(encoding="utf-8"), path


def test_public_names_exist() -> None:
    import zsaudio

    for name in zsaudio.__all__:
        assert getattr(zsaudio, name).__doc__ or name == "__version__"
    assert set(zsaudio.__all__) <= set(dir(zsaudio))
