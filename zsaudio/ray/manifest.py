"""What is committed in a folder of shards, so that a run that was cut off goes on and does nothing twice.

    part-20260131T053000-1f2e-000001.parquet    results of some recordings
    _manifest/head.json                         what was asked for, the models, the columns of the shards
    _manifest/part-20260131T053000-1f2e-000001.json    which recordings are in that shard
    _staging/20260131T053000-1f2e/              what processes have written and nobody has committed

A process writes a shard into the staging area. The driver, and nobody else, commits it: the shard moves into
place, and then its entry of the manifest is written, whole or not at all. The entry is what counts: a shard
without one, left by a driver that was killed between the two, is removed by the next run, which does its
recordings again. Names that begin with ``_`` are ignored by readers of Parquet folders.

Recordings are known by hashes of 8 bytes, so that a million of them take little memory.
"""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from zsaudio.errors import ModelError, OptionError
from zsaudio.ray.shards import STAGING, Loaded, Staged
from zsaudio.ray.work import same_models
from zsaudio.storage.folder import Folder

FORMAT = 1
_HEAD = "_manifest/head.json"
_OWN = re.compile(r"part-\d{8}T\d{6}-[0-9a-f]{8}-\d{6,}\.parquet")


class Manifest:
    """What is committed in a folder, which must be locked.

    Parameters
    ----------
    folder
        The folder of results.
    settings
        Everything that the results depend on, besides the recordings; a run goes on with the same only.
    overwrite
        Start anew.

    Attributes
    ----------
    run
        Name of this run.
    done
        Recordings that are committed: ``key_of`` of each, and ``hash`` of its size and time of change.
    n_failed
        How many of them have an error.

    Raises
    ------
    OptionError
        If the folder holds other files, or results with other settings, or its manifest is damaged.
    OutputError
        If the folder cannot be read.
    """

    def __init__(self, folder: Folder, settings: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.folder = folder
        self.run = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        self.done: dict[int, int] = {}
        self.n_failed = 0
        self._settings = json.loads(json.dumps(settings))  # as read back: tuples become lists
        self._overwrite = overwrite
        self._head: dict[str, Any] | None = None
        self._shards: set[str] = set()
        self._entries: list[str] = []
        names = folder.names()
        entries = folder.names("_manifest")
        if "head.json" not in entries:
            if names := [name for name in names if not name.startswith("_")]:
                raise OptionError(f"{folder.location}: holds other files ({names[0]}); name an empty folder")
        else:
            self._entries = [f"_manifest/{name}" for name in entries if name != "head.json"]
            self._go_on()

    def _go_on(self) -> None:
        """Take over what an earlier run did."""
        where = self.folder.location
        name = _HEAD
        try:
            head = json.loads(self.folder.read(_HEAD))
            if head["format"] != FORMAT:
                raise OptionError(f"{where}: has format {head['format']}; this version writes {FORMAT}")
            self._overwrite |= "cleared" in head
            if self._overwrite:
                return
            self._head = head
            self._check_settings(head["settings"])
            contents = self.folder.read_all(self._entries)
            for name, content in zip(self._entries, contents, strict=True):  # noqa: B007  # of the damaged one
                entry = json.loads(content)
                self._shards.add(entry["shard"])
                self.n_failed += len(entry["failed"])
                for path, size, mtime, start, end in entry["inputs"]:
                    self.done[key_of(path, start, end)] = hash((size, mtime))
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, OptionError):
                raise
            raise OptionError(f"{where}/{name}: is damaged; start again with --overwrite") from error

    def _check_settings(self, earlier: Mapping[str, Any]) -> None:
        for name in sorted({*self._settings, *earlier}):
            if self._settings.get(name) != earlier.get(name):
                raise OptionError(
                    f"{self.folder.location}: its results were made with other settings ({name}): repeat "
                    "them, name another folder, or start again with --overwrite"
                )

    def start(self, loaded: Loaded, kept: list[list[str]]) -> None:
        """Begin to write, when the first process has loaded its models; remove what was not committed.

        Parameters
        ----------
        loaded
            What the process says of its models.
        kept
            Columns that the results have from the input, with their types.

        Raises
        ------
        ModelError
            If the results in the folder were made with another model.
        OptionError
            If they have other columns.
        """
        columns = [*kept, *loaded.columns]
        if self._head is not None:
            self.check_models(loaded)
            if columns != self._head["columns"]:
                have, want = ([f"{n} {t}" for n, t in each] for each in (self._head["columns"], columns))
                other = next(
                    iter(dict.fromkeys([c for c in [*want, *have] if c not in have or c not in want]))
                )
                raise OptionError(
                    f"{self.folder.location}: its shards have other columns ({other}): name another folder, "
                    "or start again with --overwrite"
                )
        self.folder.remove_folder(STAGING)
        if self._entries and self._overwrite:
            self.folder.write(_HEAD, json.dumps({"format": FORMAT, "cleared": True}).encode())
            self.folder.remove(self._entries)
        names = self.folder.names()
        self.folder.remove(name for name in names if _OWN.fullmatch(name) and name not in self._shards)
        self.folder.remove_partial("_manifest")
        if self._head is None:
            self._head = {
                "format": FORMAT,
                "settings": self._settings,
                "models": loaded.identity,
                "columns": columns,
            }
            self.folder.write(_HEAD, json.dumps(self._head, indent=1).encode() + b"\n")

    def check_models(self, loaded: Loaded) -> None:
        """Raise ModelError if a process has loaded other models than those of the results."""
        assert self._head is not None
        if not same_models(loaded.identity, self._head["models"]):
            name = loaded.identity.get("model") or loaded.identity["speech"]["model"]
            raise ModelError(
                f"{self.folder.location}: its results were made with another version of '{name}'; use that, "
                "name another folder, or start again with --overwrite"
            )

    def commit(self, staged: Staged) -> None:
        """Put a shard into its place."""
        name = f"part-{self.run}-{staged.name}"
        self.folder.move(f"{STAGING}/{self.run}/{staged.name}.parquet", f"{name}.parquet")
        entry = {**asdict(staged), "shard": f"{name}.parquet"}
        del entry["name"]
        self.folder.write(f"_manifest/{name}.json", json.dumps(entry).encode() + b"\n")

    def close(self) -> None:
        """Remove what was not committed."""
        self.folder.remove_folder(STAGING)


def key_of(path: str, start: float | None = None, end: float | None = None) -> int:
    """Return a number for a recording, or a part of it."""
    return int.from_bytes(
        blake2b(f"{path}\0{start}\0{end}".encode(errors="surrogatepass"), digest_size=8).digest()
    )
