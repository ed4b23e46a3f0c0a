"""An evaluation as text and as pictures.

Figures need matplotlib, the extra ``plot``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np

from zsaudio.evaluation import metrics
from zsaudio.evaluation.clips import Evaluation
from zsaudio.output.journal import writing
from zsaudio.output.plot import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAMED_CLASSES = 80  # more names than these do not fit beside a matrix


def write_summary(evaluations: Sequence[Evaluation], file: TextIO) -> None:
    """Write the figures, a column for each evaluation."""
    first = evaluations[0]
    print(
        f"{first.data}: {len(first.truth)} clips, {len(first.classes)} classes; model {first.model}",
        file=file,
    )
    titles = [evaluation.prompts for evaluation in evaluations]
    if titles == ["own"]:
        titles = [""]
    width = max(8, *map(len, titles))
    if any(titles):
        print(" " * 20 + "".join(f"  {title:>{width}}" for title in titles), file=file)
    for name in first.summary:
        cells = "".join(f"  {evaluation.summary[name]:>{width}.3f}" for evaluation in evaluations)
        print(f"{name:<20}{cells}", file=file)


def write_classes(evaluation: Evaluation, file: TextIO) -> None:
    """Write the table of classes, the worst first."""
    rows = evaluation.per_class
    key = "AP" if evaluation.is_multi_label else "accuracy"
    width = max(len("class"), *(len(row["class"]) for row in rows))
    heads = ["AP"] if evaluation.is_multi_label else ["accuracy", "AP"]
    if evaluation.events is not None:
        heads += ["segment F1", "event F1", "PSDS1", "PSDS2"]
    last = "" if evaluation.is_multi_label else "  most often taken for"
    widths = [max(8, len(head)) for head in heads]
    titles = "".join(f"  {head:>{w}}" for head, w in zip(heads, widths, strict=True))
    print(f"{'class':<{width}}  clips" + titles + last, file=file)
    for row in sorted(rows, key=lambda row: (row[key] is None, row[key])):
        cells = "".join(
            f"  {'-' if row[head] is None else format(row[head], '.3f'):>{w}}"
            for head, w in zip(heads, widths, strict=True)
        )
        taken = f"  {row['taken for']}" if row.get("taken for") else ""
        unseen = " (unseen)" if row["class"] in evaluation.unseen else ""
        print(f"{row['class']:<{width}}  {row['clips']:>5}{cells}{taken}{unseen}", file=file)


def draw_confusion(evaluation: Evaluation, path: Path) -> None:
    """Draw what the clips of each class (rows, shares) are taken for, as a PNG."""
    matrix = metrics.confusion(evaluation.logits, evaluation.number)
    clips = matrix.sum(axis=1, keepdims=True)
    shares = matrix / np.maximum(clips, 1)
    n_classes = len(evaluation.classes)
    side = min(14.0, 3.5 + 0.2 * n_classes)
    figure = _figure(side + 0.6, side)
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the class's clips", fraction=0.04, pad=0.02)
    if n_classes <= _NAMED_CLASSES:
        names = [f"{name} *" if name in evaluation.unseen else name for name in evaluation.classes]
        size = 9 if n_classes <= 25 else 7 if n_classes <= 50 else 5
        axes.set_xticks(range(n_classes), names, rotation=90, fontsize=size)
        axes.set_yticks(range(n_classes), names, fontsize=size)
    if n_classes <= 15:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(
                column, row, str(matrix[row, column]), ha="center", va="center", color=color, fontsize=8
            )
    axes.set_xlabel("taken for")
    axes.set_ylabel("is")
    star = ", * unseen" if evaluation.unseen else ""
    axes.set_title(f"{evaluation.data}, {evaluation.model}: {evaluation.summary['accuracy']:.1%}{star}")
    _save(figure, path)


def draw_reliability(evaluation: Evaluation, path: Path) -> None:
    """Draw how often scores are right, as a PNG: on the diagonal they mean what they say."""
    figure = _figure(5.5, 6.5)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    top.plot([0, 1], [0, 1], color="0.7", linestyle="--", label="what they should be")
    curves = [("is it there", evaluation.independent, "tab:blue")]
    if not evaluation.is_multi_label:
        curves.append(("which one is it (best)", evaluation.exclusive, "tab:orange"))
    edges = np.linspace(0, 1, len(evaluation.independent.count) + 1)
    for name, curve, color in curves:
        filled = curve.count > 0
        label = f"{name}, ECE {curve.ece:.3f}"
        top.plot(curve.score[filled], curve.right[filled], "o-", color=color, markersize=4, label=label)
        bottom.stairs(curve.count, edges, color=color)
    top.set_ylabel("how often right")
    top.set_title(f"{evaluation.data}, {evaluation.model}")
    top.legend(loc="upper left", fontsize=9)
    top.set_aspect("auto")
    bottom.set_yscale("symlog")
    bottom.set_ylabel("scores")
    bottom.set_xlabel("score")
    bottom.set_xlim(0, 1)
    _save(figure, path)


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: "Figure", path: Path) -> None:
    with writing(path):
        save_figure(figure, path, dpi=150)
