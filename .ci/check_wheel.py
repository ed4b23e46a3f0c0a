"""Build the distributions, install the wheel into an environment of its own, and tag a recording with it.

The environment takes zsaudio from the wheel alone and what zsaudio depends on from the environment that runs
this, which saves a download of 1 GB. That the declared dependencies suffice is what ``make demo`` shows: it
installs nothing else.
"""

import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LARGEST = 45e6  # bytes; the weights have up to 40 MB
NOT_IN_SDIST = (".ci/", ".github/", ".gitignore", ".pre-commit-config.yaml")


def main() -> None:
    """Exit with a message where something is wrong."""
    tracked = run("git", "ls-files", cwd=ROOT).splitlines()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run(
            sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT
        )  # the wheel from the sdist
        (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
        with tarfile.open(sdist) as archive:
            inside = {name.partition("/")[2] for name in archive.getnames()}
        same("the sdist", {name for name in tracked if not name.startswith(NOT_IN_SDIST)}, inside)
        with zipfile.ZipFile(wheel) as archive:
            inside = {name for name in archive.namelist() if ".dist-info/" not in name}
            kept = {name.rpartition("/")[2] for name in archive.namelist()}
        expected = {name for name in tracked if name.startswith("zsaudio/")}
        same("the wheel", expected, inside)
        if extra := inside - expected:
            sys.exit(f"the wheel has what is not in the package: {sorted(extra)[:5]}")
        if not {"LICENSE", "entry_points.txt"} <= kept:
            sys.exit("the wheel lacks its licence or its entry point")
        if (size := wheel.stat().st_size) > LARGEST:
            sys.exit(f"the wheel has {size / 1e6:.1f} MB, more than {LARGEST / 1e6:.0f}")
        tags = use(wheel, folder / "environment", ROOT / "examples" / "audio" / "siren.mp3")
    print(
        f"wheel of {size / 1e6:.1f} MB with {len(inside)} files, sdist with {len(tracked)}; it says: {tags}"
    )


def use(wheel: Path, folder: Path, recording: Path) -> str:
    """Install a wheel and return the line that its command line has for a recording of a siren."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel)
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    found = run(python, "-c", "import zsaudio; print(zsaudio.__file__)", cwd=folder).strip()
    if not Path(found).is_relative_to(folder.resolve()):
        sys.exit(f"zsaudio was imported from {found}, not from the wheel")
    command = (
        python.parent / "zsaudio",
        "tag",
        recording,
        "--labels",
        "siren, piano, rain",
        "-f",
        "csv",
        "-q",
    )
    _, best, *_ = run(*command, cwd=folder).splitlines()
    if ",siren," not in best:
        sys.exit(f"{recording.name} is tagged as {best}")
    return best.rpartition("/")[2]


def run(*command: object, cwd: Path | None = None) -> str:
    """Return what a command prints; exit with its messages where it fails."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def same(what: str, expected: set[str], found: set[str]) -> None:
    """Exit where something that git tracks is missing."""
    if missing := sorted(expected - found):
        sys.exit(f"{what} lacks {len(missing)} files: {', '.join(missing[:10])}")


if __name__ == "__main__":
    main()
