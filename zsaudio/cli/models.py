"""``zsaudio models``: what there is to choose from."""

from zsaudio.cli import common


def models(debug: common.Debug = False) -> None:
    """List the models: size, licence, what they are good at, and whether they are on this machine."""
    from zsaudio.models.registry import MODELS, where_is

    print(f"{'model':<12} {'size':>7}  {'licence':<11} {'weights':<11} good at")
    for info in MODELS.values():
        print(f"{info.name:<12} {info.size:>7}  {info.licence:<11} {where_is(info):<11} {info.good_at}")
    print("\n--model also takes the Hugging Face id of a CLAP checkpoint, or the folder of one;")
    print("--keyword-model that of a CTC checkpoint, such as wav2vec2.")
