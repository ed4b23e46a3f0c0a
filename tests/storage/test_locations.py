"""Files of other file systems: what fails for a moment is tried again, what fails for good is one line."""

import pytest

from zsaudio.errors import AudioError, OptionError
from zsaudio.storage import locations as storage

pytest.importorskip("pyarrow")


def test_what_passes_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    outcomes = iter([OSError("curlCode: 28, Timeout was reached"), OSError("SLOW_DOWN"), None])

    def do() -> str:
        if (outcome := next(outcomes)) is not None:
            raise outcome
        return "done"

    assert storage.retried(do) == "done"
    assert 0.25 <= waits[0] <= 0.75 and 0.5 <= waits[1] <= 1.5


@pytest.mark.parametrize("error", [FileNotFoundError(2, "gone"), OSError("AWS Error ACCESS_DENIED")])
def test_what_stays_is_not(error: OSError, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", pytest.fail)

    def do() -> None:
        raise error

    with pytest.raises(OSError):
        storage.retried(do)


def test_errors_are_lines() -> None:
    with pytest.raises(AudioError, match=r"file:///no/such\.wav: no such file"):
        storage.fetch("file:///no/such.wav")
    with pytest.raises(OptionError, match="abc://x/y: cannot be opened"):
        storage.open_location("abc://x/y")
    assert "GOOGLE_APPLICATION" in storage.reason_of(OSError("Could not create a OAuth2 access token"))
    assert "AWS_ACCESS_KEY_ID" in storage.reason_of(OSError("AWS Error ACCESS_DENIED during PutObject"))
