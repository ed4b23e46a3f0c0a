from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import ToneModel, tone
from tone_encoder import ToneEncoder

import zsaudio
from zsaudio.errors import DataError, OptionError
from zsaudio.models import registry
from zsaudio.models.learned.adapted import Adapted
from zsaudio.recognizer import Recognizer
from zsaudio.results import ClipOutputs

LABELS = ["an owl", "my machine", "900"]


@pytest.fixture
def data(write_wav: Callable[..., Path], tmp_path: Path) -> Path:
    for frequency in (790, 800, 810):
        write_wav(f"data/my_machine/{frequency}.wav", tone(frequency, 1.0))
    write_wav("data/an owl/0.wav", tone(1500, 1.0))
    return tmp_path / "data"


def best(model: object, frequency: float) -> str:
    return Recognizer(LABELS, model).tag(tone(frequency, 1.0), 16_000)[0].label  # type: ignore[arg-type]


def test_one_call_adapts_a_model(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert best(ToneEncoder(), 805) == "900"
    adapted = zsaudio.adapt(data, ToneEncoder(), strength=20)
    assert adapted.labels == ("an owl",) + ("my machine",) * 3
    assert (adapted.source, adapted.strength) == ("tone-encoder", 20)
    assert [best(adapted, frequency) for frequency in (805, 1500)] == ["my machine", "an owl"]
    assert not caplog.records

    load = registry.load_model
    monkeypatch.setattr(
        registry, "load_model", lambda name, **_: ToneEncoder() if name == "tone-encoder" else load(name)
    )
    adapted.save(tmp_path / "model")
    assert adapted.name == str(tmp_path / "model")
    loaded = zsaudio.load_model(str(tmp_path / "model"))
    assert [best(loaded, frequency) for frequency in (805, 1500)] == ["my machine", "an owl"]
    # by its folder, or as it is once it is saved, it can be adapted again
    for base in (str(tmp_path / "model"), adapted):
        twice = zsaudio.adapt(data, base)
        assert twice.source == str(tmp_path / "model") and isinstance(twice.base, Adapted)


def test_a_model_that_was_not_saved_cannot_be_the_base_of_another(data: Path) -> None:
    with pytest.raises(OptionError, match="adapting needs the folder of the model 'adapted': save it first"):
        zsaudio.adapt(data, zsaudio.adapt(data, ToneEncoder()))


def test_examples_can_be_trained(data: Path) -> None:
    epochs: list[tuple[int, int]] = []
    plain = zsaudio.adapt(data, ToneEncoder())
    tuned = zsaudio.adapt(data, ToneEncoder(), fine_tune=3, on_epoch=lambda *done: epochs.append(done))
    assert epochs == [(1, 3), (2, 3), (3, 3)]
    assert tuned.labels == plain.labels and not np.array_equal(tuned.keys, plain.keys)


def test_what_cannot_be_used_is_logged_and_left_out(
    data: Path, write_wav: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    (data / "an owl" / "bad.wav").write_text("no audio")
    for i in range(34):
        write_wav(f"data/hum/{i}.wav", tone(300 + i, 0.3))
    caplog.set_level("WARNING", "zsaudio")
    seen: list[str] = []

    def progress(clips: Iterable[ClipOutputs], total: int) -> Iterator[ClipOutputs]:
        assert total == 37
        for clip in clips:
            seen.append(Path(clip.clip).name)
            yield clip

    adapted = zsaudio.adapt(data, ToneEncoder(), progress=progress)
    assert [adapted.labels.count(name) for name in ("an owl", "hum", "my machine")] == [1, 32, 3]
    assert len(seen) == 37
    assert [(record.levelname, record.getMessage().split(": ")[0]) for record in caplog.records] == [
        ("WARNING", "'hum' has 34 examples"),
        ("ERROR", str(data / "an owl" / "bad.wav")),
    ]


def test_errors(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        zsaudio.adapt(tmp_path / "none", ToneEncoder())
    with pytest.raises(OptionError, match="adapting needs a model with audio embeddings"):
        zsaudio.adapt(data, ToneModel())
    with pytest.raises(OptionError, match="0 to 1000 epochs"):
        zsaudio.adapt(data, ToneEncoder(), fine_tune=-1)
