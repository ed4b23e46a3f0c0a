"""Data flows one way through the modules; so must the imports."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "zsaudio"
LAYERS = [
    "errors",
    "resample",
    "audio",
    "windows",
    "datasets",
    "metrics",
    "prefetch",
    "labels",
    "alignment",
    "features",
    "class_tables",
    "semantics",
    "descent",
    "compatibility",
    "models",
    "embeddings",
    "learning",
    "fine_tuning",
    "scoring",
    "events",
    "spotting",
    "listeners",
    "stream",
    "recognizer",
    "event_evaluation",
    "evaluation",
    "calibration",
    "writers",
    "event_writers",
    "journal",
    "outputs",
    "plot",
    "report",
    "live",
    "capture",
    "cli",
]


def layer(module: str) -> int:
    return LAYERS.index(module.split(".")[1])


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name.startswith("zsaudio.")}


def test_no_module_imports_a_later_one() -> None:
    checked = 0
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if path.parent == PACKAGE and path.stem.startswith("__"):
            continue  # the package's front door knows all rooms
        for name in imports(path):
            if name.split(".")[1] in LAYERS:
                assert layer(name) <= layer(".".join(parts)), f"{path} imports {name}"
                checked += 1
    assert checked > 20


def test_every_module_has_a_layer() -> None:
    modules = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" and not path.stem.startswith("__")
    } | {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert modules <= set(LAYERS)


def test_import_and_help_load_no_heavy_module() -> None:
    code = """
import sys
import zsaudio, zsaudio.cli
heavy = {"torch", "transformers", "librosa", "numpy", "av", "soundfile", "yaml", "rich.progress"}
print(sorted(heavy & set(sys.modules)))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_public_names_exist() -> None:
    import zsaudio

    for name in zsaudio.__all__:
        assert getattr(zsaudio, name).__doc__ or name == "__version__"
    assert set(zsaudio.__all__) <= set(dir(zsaudio))
