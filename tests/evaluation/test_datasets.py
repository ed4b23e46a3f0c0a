from pathlib import Path

import pytest

from zsaudio.errors import DataError
from zsaudio.evaluation.datasets import Dataset, read_dataset


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"audio")


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def facts(dataset: Dataset) -> list[tuple[str, tuple[str, ...], str | None]]:
    return [(r.path.name, r.labels, r.split) for r in dataset.recordings]


def test_table(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav", "sub/b.wav")
    table = write(tmp_path / "data.csv", "file,label,fold", "a.wav,dog_barking,1", "sub/b.wav,rain,2")
    dataset = read_dataset(table)
    assert facts(dataset) == [("a.wav", ("dog barking",), "1"), ("b.wav", ("rain",), "2")]
    assert dataset.classes == ("dog barking", "rain")
    assert not dataset.is_multi_label and not dataset.problems
    assert facts(dataset.split("2")) == [("b.wav", ("rain",), "2")]
    assert dataset.only(["rain"]).classes == ("rain",)
    assert len(dataset.only(["rain"]).recordings) == 1


def test_table_with_events_joins_the_rows_of_a_file(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    table = write(
        tmp_path / "events.tsv",
        "filename\tonset\toffset\tevent_label",
        "a.wav\t0.5\t1\tdog",
        "a.wav\t2\t3.5\train",
    )
    (recording,) = read_dataset(table).recordings
    assert recording.events == ((0.5, 1.0, "dog"), (2.0, 3.5, "rain"))
    assert recording.labels == ("dog", "rain")


def test_several_labels_in_a_cell(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    dataset = read_dataset(write(tmp_path / "data.csv", "path,labels", "a.wav,dog; rain"))
    assert dataset.is_multi_label and dataset.recordings[0].labels == ("dog", "rain")


def test_folder_per_class(tmp_path: Path) -> None:
    touch(tmp_path, "dog/1.wav", "dog/2.flac", "dog/notes.txt", "sea_waves/1.ogg", ".git/1.wav")
    (tmp_path / "empty").mkdir()
    dataset = read_dataset(tmp_path)
    assert [r.labels for r in dataset.recordings] == [("dog",), ("dog",), ("sea waves",)]
    assert dataset.classes == ("dog", "empty", "sea waves")
    assert len(dataset.problems) == 1 and "'empty' has no recordings" in dataset.problems[0]


def test_missing_files_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    touch(tmp_path, "here.wav")
    rows = [f"gone{i}.wav,lost" for i in range(7)]
    dataset = read_dataset(write(tmp_path / "data.csv", "file,label", "here.wav,dog", *rows))
    assert len(dataset.recordings) == 1
    assert dataset.problems[0] == f"{tmp_path / 'gone0.wav'}: no such file"
    assert "2 more files are missing, 7 in all" in dataset.problems[5]
    assert "class 'lost' has no recordings" in dataset.problems[6]
    assert dataset.classes == ("dog", "lost")


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        (["file,label"], "holds no rows"),
        (["name,label", "a.wav,dog"], "no column 'file' or .* it has name, label"),
        (["file,sound", "a.wav,dog"], "no column 'label'"),
        (["file,label", "a.wav,Dog", "a.wav,dog"], "'Dog' and 'dog' differ only in case"),
        (["file,label", "b.wav,dog"], "none of its 1 recordings is there"),
        (["file,label", "a.wav,"], "no row has a label"),
        (["file,label", ",dog"], "row 2 names no file"),
        (["file,label,onset,offset", "a.wav,dog,2,1"], "offset 1 must be after onset 2"),
        (["file,label,onset,offset", "a.wav,dog,x,1"], "must be seconds"),
    ],
)
def test_bad_tables(tmp_path: Path, lines: list[str], match: str) -> None:
    touch(tmp_path, "a.wav")
    with pytest.raises(DataError, match=match):
        read_dataset(write(tmp_path / "data.csv", *lines))


def test_bad_places(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        read_dataset(tmp_path / "nowhere")
    with pytest.raises(DataError, match="neither a folder per class"):
        read_dataset(tmp_path)
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not a table of text"):
        read_dataset(tmp_path / "x.csv")


def test_unknown_split_and_class(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    dataset = read_dataset(write(tmp_path / "data.csv", "file,label,split", "a.wav,Dog,train"))
    with pytest.raises(DataError, match="no split 'test'; it has the splits train"):
        dataset.split("test")
    assert dataset.pick(["dog"]) == ("Dog",)
    with pytest.raises(DataError, match="no class 'cat'; it has Dog"):
        dataset.pick(["cat"])


def test_esc50_as_its_maker_delivers_it(tmp_path: Path) -> None:
    touch(tmp_path, "audio/1-100032-A-0.wav", "audio/5-9032-A-0.wav")
    write(
        tmp_path / "meta/esc50.csv",
        "filename,fold,target,category,esc10,src_file,take",
        "1-100032-A-0.wav,1,0,dog,True,100032,A",
        "5-9032-A-0.wav,5,36,vacuum_cleaner,False,9032,A",
    )
    assert facts(read_dataset(tmp_path)) == [
        ("1-100032-A-0.wav", ("dog",), "1"),
        ("5-9032-A-0.wav", ("vacuum cleaner",), "5"),
    ]


def test_urbansound8k_as_its_makers_deliver_it(tmp_path: Path) -> None:
    touch(tmp_path, "audio/fold5/100032-3-0-0.wav")
    write(
        tmp_path / "metadata/UrbanSound8K.csv",
        "slice_file_name,fsID,start,end,salience,fold,classID,class",
        "100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark",
    )
    assert facts(read_dataset(tmp_path)) == [("100032-3-0-0.wav", ("dog bark",), "5")]


def test_fsd50k_as_its_makers_deliver_it(tmp_path: Path) -> None:
    touch(tmp_path, "FSD50K.dev_audio/64760.wav", "FSD50K.eval_audio/37199.wav")
    truth = tmp_path / "FSD50K.ground_truth"
    write(
        truth / "dev.csv",
        "fname,labels,mids,split",
        '64760,"Electric_guitar,Guitar,Music","/m/02sgy,/m/0342h,/m/04rlf",val',
    )
    write(truth / "eval.csv", "fname,labels,mids", '37199,"Electric_guitar","/m/02sgy"')
    assert facts(read_dataset(tmp_path)) == [
        ("64760.wav", ("Electric guitar", "Guitar", "Music"), "val"),
        ("37199.wav", ("Electric guitar",), "test"),
    ]


def test_speech_commands_as_its_makers_deliver_it(tmp_path: Path) -> None:
    touch(tmp_path, "yes/a.wav", "yes/b.wav", "no/c.wav", "_background_noise_/hum.wav")
    write(tmp_path / "testing_list.txt", "yes/b.wav")
    write(tmp_path / "validation_list.txt", "no/c.wav")
    assert facts(read_dataset(tmp_path)) == [
        ("c.wav", ("no",), "validation"),
        ("a.wav", ("yes",), "training"),
        ("b.wav", ("yes",), "testing"),
    ]
