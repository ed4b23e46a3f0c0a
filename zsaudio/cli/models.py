"""``zsaudio models``: the models that are known by name."""

from typing import Annotated

import typer

from zsaudio.cli import common


def models(
    details: Annotated[
        bool,
        typer.Option(
            "--details",
            help="Also print the checkpoint and the languages of each.",
            rich_help_panel=common.OUTPUT,
        ),
    ] = False,
    debug: common.Debug = False,
) -> None:
    """List the models: size, licence, what they are good at, and whether they are on this machine."""
    from zsaudio.models.registry import FAMILIES, MODELS, model_families, where_is

    width = max(map(len, MODELS))
    print(f"{'model':<{width}} {'size':>7}  {'licence':<12} {'weights':<11} good at")
    for info in MODELS.values():
        print(f"{info.name:<{width}} {info.size:>7}  {info.licence:<12} {where_is(info):<11} {info.good_at}")
        if details:
            print(f"{'':<{width}}   checkpoint: {info.source or 'bundled'}; labels: {info.languages}")
    print(
        "\n--model also takes the Hugging Face id or the folder of a CLAP, PE audio or audio classification"
    )
    print("checkpoint, or a folder that train or adapt wrote; --keyword-model those of a CTC checkpoint, or")
    print("torchaudio:MMS_FA.")
    if added := sorted(set(model_families()) - set(FAMILIES)):
        print(f"Model types of plug-ins: {', '.join(added)}.")
