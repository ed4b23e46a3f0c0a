"""``zsaudio keywords``: what to expect of a keyword, before it is used."""

from typing import TYPE_CHECKING, Annotated

import typer

from zsaudio.cli import common

if TYPE_CHECKING:
    from zsaudio.models.speech.expectations import Expected


def keywords(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="WORDS", help="Keywords, separated by commas: 'hey computer, stop'.", show_default=False
        ),
    ] = None,
    labels_file: common.LabelsFile = None,
    quiet: common.Quiet = False,
    debug: common.Debug = False,
) -> None:
    """Say how keywords are pronounced, what sounds like them, and how many false alarms and misses to expect.

    Example: zsaudio keywords "hey computer, stop"
    """
    common.set_verbosity(False, True)  # what the warnings would say is printed below
    from zsaudio.labels import KEYWORD_PREFIX, LabelSet, as_keyword

    given = common.read_labels(words, labels_file, None)
    label_set = LabelSet([label for label in map(as_keyword, given) if not label.background])

    from zsaudio.models.speech.expectations import HOPELESS, expectations
    from zsaudio.models.speech.nano_keyword import NanoKeyword
    from zsaudio.models.speech.promise import similar_words

    model = NanoKeyword()
    bank = model.embed_labels(label_set)
    assert model.promise is not None  # it is bundled
    common_words = {word: model.pronounce.word(word) for word in model.common_words}
    for label, rows in zip(label_set, expectations(model.promise, bank), strict=True):
        said = [way for text in label.spoken for way in model.pronounce(text)]
        similar = similar_words(said, common_words)
        print(label.name.removeprefix(KEYWORD_PREFIX).strip())
        print(f"  said as    {', or '.join(' '.join(way) for way in said)}")
        print(f"  similar    {', '.join(similar) or 'no common word'}")
        for row in rows:
            print(f"  {_line(row)}")
        if rows[1].missed > HOPELESS:
            print("  advice: too short to be told from other words; take a phrase of two or more words")
    if not quiet:
        common.message(
            "false alarms are per hour of continuous speech; --false-alarms N sets such thresholds"
        )


def _line(row: "Expected") -> str:
    alarms = f"{row.per_hour:g} false alarm{'' if row.per_hour == 1 else 's'} an hour"
    if row.threshold is None:
        return f"{alarms:<26} no threshold keeps them so few"
    return f"{alarms:<26} threshold {row.threshold:<8.3g} misses {row.missed:.0%}"
