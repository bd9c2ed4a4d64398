"""The paper's recipes, run end to end on small real data."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import sentence_transformers
import torch
import transformers

from nestling import truncate
from nestling.data import load_labels, load_vectors
from nestling.data.shards import write_shards
from nestling.data.tokens import Tokenizer
from nestling.errors import DataError, InputError
from nestling.evaluation import load_rows
from nestling.models import DualEncoder, MaskedLanguageModel, load
from nestling.models.encoders.text import BertEncoder, minilm
from nestling.search import exact
from nestling.studies.captioned import KS, TO_CAPTION, TO_PICTURE
from nestling.studies.captioned.source import CaptionedReading, open_captioned
from nestling.studies.recipes.command import names, recipe_of, run_recipe, told
from nestling.studies.sharding import shard_tree
from nestling.studies.watch import Silent
from nestling.training.checkpoint import saved
from tests.cli.command import here, nestling, refused, torchrun
from tests.data.pictures import handwriting
from tests.models.test_encoders import ALIGN_IMAGE, BERT

NAMES = names()
DOCS = Path(__file__).parents[2] / "docs"
SMALL = ["batch_size=8", "size=32", "workers=0", "precision=fp32", "val_fraction=0.2"]
SHORT = ["batch_size=8", "length=16", "precision=fp32", "val_fraction=0.2"]
PAIRS = [*SMALL, "length=8"]
CHANGES = {
    "imagenet_resnet50": [*SMALL, "encoder=resnet-18", "dims=8,512", "grow=24:32:1:3"],
    "imagenet_vit_b16": [*SMALL, "encoder=vit-s16", "dims=12,384"],
    "jft_vit_b16": [*SMALL, "encoder=vit-s16", "dims=12,384"],
    "bert_base": [*SHORT, "dims=6,24"],
    "align": [*PAIRS, "encoder=vit-s16", "dims=12,384"],
}
"""What makes a recipe small enough for two cores; the soak test changes less."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes")
    handwriting(folder / "tree", classes=3, each=20)
    shard_tree(folder / "tree", folder / "shards", val_fraction=0.2, most=9, seed=0, watch=Silent())
    (folder / "texts").mkdir()
    for file in DOCS.glob("*.md"):  # real sentences
        (folder / "texts" / f"{file.stem}.txt").write_text(file.read_text())
    captioned(folder / "pairs", folder / "captioned")
    about = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    transformers.BertModel(transformers.BertConfig(**about)).save_pretrained(folder / "bert")
    Tokenizer.load(minilm()).save(folder / "bert")
    return folder


def captioned(files: Path, shards: Path) -> None:
    """Handwritten digits, told in words with a number; the same pairs in files and in shards."""
    handwriting(files, classes=5, each=12)
    paths = sorted(files.rglob("*.??g"))
    words = ("zero", "one", "two", "three", "four")
    captions = [f"a handwritten {words[int(p.parent.name[-1])]}, number {p.stem}" for p in paths]
    for path, caption in zip(paths, captions, strict=True):
        path.with_suffix(".txt").write_text(caption + "\n")
    write_shards([str(path) for path in paths], captions, shards, most=15)


SOURCES = {"jft_vit_b16": "shards", "bert_base": "texts", "align": "captioned"}


def _source(name: str, data: Path) -> Path:
    return data / SOURCES.get(name, "tree")


def _small(name: str, data: Path) -> list[str]:
    """A text encoder of 24 features."""
    setting = {"bert_base": "pretrained", "align": "text_pretrained"}.get(name)
    return [] if setting is None else [f"{setting}={data / 'bert'}"]


def _run(name: str, data: Path, out: Path, steps: int, changes: list[str], *, resume: bool = False) -> set[str]:
    """The metrics of the rows, which were written too."""
    settings = [f"data={_source(name, data)}", f"out={out}", f"steps={steps}", *changes]
    _, rows = run_recipe(name, settings, resume=resume, watch=Silent())
    assert rows == load_rows((out / "rows.jsonl").read_text())
    return {row.metric for row in rows}


RECALL = {form.format(k) for form in (TO_PICTURE, TO_CAPTION) for k in KS}
PICTURES = {"head_top1", "probe_top1", "1nn_top1"}
METRICS = dict.fromkeys(NAMES, PICTURES) | {"bert_base": {"masked_top1"}, "align": RECALL}


def test_every_recipe_has_a_case() -> None:
    assert set(NAMES) == set(CHANGES)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.soak] * n.startswith("imagenet")) for n in NAMES])
def test_a_recipe_runs_end_to_end(name: str, data: Path, tmp_path: Path) -> None:
    assert _run(name, data, tmp_path / "run", 3, [*CHANGES[name], *_small(name, data)]) == METRICS[name]


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_runs_with_its_own_encoder(name: str, data: Path, tmp_path: Path) -> None:
    assert (
        _run(name, data, tmp_path / "run", 20, {"bert_base": SHORT, "align": PAIRS}.get(name, SMALL)) == METRICS[name]
    )


def test_words_go_on_from_a_checkpoint_to_the_same_model_which_can_be_used(data: Path, tmp_path: Path) -> None:
    changes = [*CHANGES["bert_base"], f"pretrained={data / 'bert'}", "checkpoint_every=2"]
    assert _run("bert_base", data, tmp_path / "whole", 6, changes) == METRICS["bert_base"]
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    for late in ("model/model.json", "rows.jsonl", saved(tmp_path / "again")[-1].name):
        (tmp_path / "again" / late).unlink()
    assert _run("bert_base", data, tmp_path / "again", 6, changes, resume=True) == METRICS["bert_base"]
    one, other = (load(tmp_path / name / "model", MaskedLanguageModel) for name in ("whole", "again"))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))

    tokenizer = Tokenizer.load(tmp_path / "again" / "model")
    ids = torch.from_numpy(tokenizer.read(["The [MASK] is what the house is built around."]))
    words = other.words(ids, ids == tokenizer.mask)
    assert words.shape == (2, 1)
    assert all(tokenizer.reader.id_to_token(int(word)) for word in words[:, 0])

    encoder = tmp_path / "again" / "encoder"
    assert torch.equal(BertEncoder.from_pretrained(encoder)(ids), other.encoder(ids))
    theirs = sentence_transformers.SentenceTransformer(str(encoder), device="cpu")
    text = "What is trained here is fine-tuned by others."
    ours = BertEncoder.from_pretrained(encoder)(torch.from_numpy(tokenizer.read([text])))
    assert np.allclose(theirs.encode([text]), ours.detach().numpy(), atol=1e-5)
    texts = data / "texts" / "icons.txt"
    message = refused(here("encode", tmp_path / "again", texts, "--out", tmp_path / "x.npy"))
    assert "Fine-tune its folder encoder" in message


@pytest.mark.soak
@pytest.mark.parametrize(
    ("name", "kind"), [("bert_base", MaskedLanguageModel), ("align", DualEncoder)], ids=["words", "pairs"]
)
def test_two_processes_train_and_go_on_to_the_same_model(
    name: str, kind: type[MaskedLanguageModel] | type[DualEncoder], data: Path, tmp_path: Path
) -> None:
    def two(out: str, *more: str) -> str:
        changes = [*CHANGES[name], *_small(name, data), "checkpoint_every=2", "steps=6"]
        return torchrun(
            *("recipe", name, *more, "--set", f"data={_source(name, data)}", f"out={tmp_path / out}"),
            *changes,
        )

    metric = "masked_top1" if name == "bert_base" else "recall@"
    assert metric in two("whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    (tmp_path / "again" / "model" / "model.json").unlink()
    saved(tmp_path / "again")[-1].unlink()
    assert metric in two("again", "--resume")
    one, other = (load(tmp_path / out / "model", kind) for out in ("whole", "again"))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_tells_itself(name: str) -> None:
    recipe, about = recipe_of(name)
    assert f"-m nestling recipe {name} --set data=" in about
    assert "Hardware and time" in about
    assert dict(told(recipe))["batch_size"] == recipe.train.batch_size


def test_the_command_tells_and_runs(data: Path, tmp_path: Path) -> None:
    told_ = nestling("recipe", "imagenet_resnet50")
    assert "momentum=0.9" in told_.stdout
    changes = [*CHANGES["imagenet_resnet50"], f"data={data / 'tree'}", f"out={tmp_path / 'run'}", "steps=2"]
    done = here("recipe", "imagenet_resnet50", "--set", *changes)
    assert done.returncode == 0, done.stderr
    assert "head_top1" in done.stdout


@pytest.mark.usefixtures("as_a_user")
def test_what_cannot_be_set_is_one_sentence(tmp_path: Path) -> None:
    (words_ := tmp_path / "words.txt").write_text("a text")
    for name, settings, words in (
        ("imagenet_resnet50", [], "data must be set"),
        ("imagenet_resnet50", ["lrr=1"], "--set must be name=value"),
        ("imagenet_resnet50", ["lr=fast"], "lr must be a number; got 'fast'"),
        ("imagenet_resnet50", ["size=big"], "size must be a whole number; got 'big'"),
        ("imagenet_resnet50", ["steps=20.5"], "steps must be a whole number or null; got '20.5'"),
        ("imagenet_resnet50", ["tied=no"], "tied must be true or false; got 'no'"),
        ("imagenet_resnet50", ["workers=-1"], "workers must be at least 0; got -1"),
        ("imagenet_resnet50", ["data=2024"], "2024 .*no"),
        ("imagenet_resnet50", [f"data={DOCS}", "dims=768"], "no classes|folder per class|class"),
        ("imagenet_resnet51", [], "recipe must be one of align, bert_base, imagenet_resnet50"),
        ("align", ["data=nowhere"], "nowhere is no folder"),
        ("align", [f"data={DOCS}"], "holds no pictures. Give a folder of name.jpg and name.txt"),
        ("align", [f"data={DOCS}", "val_fraction=1"], "val_fraction must be between 0 and 1"),
        ("align", [f"data={DOCS}", "align=nowhere", "size=32"], "holds no pictures"),
        ("bert_base", ["data=nowhere.txt"], "nowhere.txt does not exist"),
        ("bert_base", [f"data={DOCS.parent / 'src'}"], "holds no file that ends in .txt"),
        ("bert_base", [f"data={words_}", "encoder=bert-bse"], "encoder must be one of bert-base"),
        ("bert_base", ["data=nowhere", "val_fraction=0"], "val_fraction must be between 0 and 1"),
    ):
        with pytest.raises((InputError, DataError), match=words):
            run_recipe(name, settings, resume=False, watch=Silent())


def test_pairs_in_files_go_on_from_a_checkpoint_to_the_same_model_which_finds_them(data: Path, tmp_path: Path) -> None:
    changes = [*CHANGES["align"], *_small("align", data), f"data={data / 'pairs'}", "encoder=compact", "channels=1"]
    changes += ["crop=null", "flip=false", "dims=8,16", "lr=3e-3", "optimizer=adamw", "checkpoint_every=20"]
    _run("align", data, tmp_path / "whole", 60, [*changes, "batch_size=24"])
    shutil.copytree(tmp_path / "whole", tmp_path / "again")
    for late in ("model/model.json", "rows.jsonl", saved(tmp_path / "again")[-1].name):
        (tmp_path / "again" / late).unlink()
    _run("align", data, tmp_path / "again", 60, [*changes, "batch_size=24"], resume=True)
    one, other = (load(tmp_path / name / "model", DualEncoder) for name in ("whole", "again"))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    rows = {(row.metric, row.dims): row for row in load_rows((tmp_path / "whole" / "rows.jsonl").read_text())}
    for form in (TO_PICTURE, TO_CAPTION):
        for m in (8, 16):
            assert rows[form.format(5), m].value > 0.8  # of 11, in five kinds; by chance 5 of 11 at most
    assert Tokenizer.load(tmp_path / "again" / "model").mask == 103
    assert_both_sides_are_encoded(other, tmp_path / "again", data)


def assert_both_sides_are_encoded(model: DualEncoder, run: Path, data: Path) -> None:
    files = sorted((data / "pairs").rglob("*.txt"))
    texts = [file.read_text().strip() for file in files]
    (run / "texts.txt").write_text("\n".join(texts))
    for source, out in ((data / "pairs", "pictures.npy"), (run / "texts.txt", "texts.npy")):
        done = here("encode", run, source, "--out", run / out, "--workers", 0)
        assert done.returncode == 0, done.stderr
    pictures, captions = load_vectors(run / "pictures.npy"), load_vectors(run / "texts.npy")
    assert len(pictures) == len(captions) == len(texts)
    ids = Tokenizer.load(run / "model").read(texts, 8)
    assert np.allclose(captions, model.encode_texts(ids), atol=1e-5)
    names = [Path(name).with_suffix(".txt") for name in load_labels(run / "pictures-ids.npy")]
    assert names == files
    found = exact(truncate(pictures, 16), truncate(captions, 16), 12).ids
    kinds = np.array([file.parent.name for file in files])
    assert (kinds[found] == kinds[:, None]).mean() > 0.8
    assert "a file that ends in" in refused(here("encode", run, data / "pairs", "--out", run / "vectors"))


def test_what_datasets_saved_is_trained_on(data: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    files = sorted((data / "pairs").rglob("*.txt"))
    texts = [file.read_text().strip() for file in files]
    pictures = [str(next(file.parent.glob(f"{file.stem}.??g"))) for file in files]
    features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
    made = datasets.Dataset.from_dict({"image": pictures, "caption": texts}, features=features)
    made.save_to_disk(tmp_path / "pairs")
    changes = [*PAIRS, *_small("align", data), f"data={tmp_path / 'pairs'}", "encoder=compact", "channels=1"]
    assert _run("align", data, tmp_path / "align", 2, [*changes, "crop=null", "dims=4,16"]) == RECALL
    found = open_captioned(
        str(tmp_path / "pairs"), Tokenizer.load(data / "bert"), CaptionedReading(size=16, val_fraction=0.3), Silent()
    )
    assert sum(map(len, found)) == len(texts)
    sentences = [line for file in (data / "texts").glob("*.txt") for line in file.read_text().splitlines()]
    datasets.Dataset.from_dict({"text": sentences}).save_to_disk(tmp_path / "texts")
    changes = [*CHANGES["bert_base"], *_small("bert_base", data), f"data={tmp_path / 'texts'}"]
    assert _run("bert_base", data, tmp_path / "words", 2, changes) == {"masked_top1"}


def test_a_whole_align_goes_on(data: Path, tmp_path: Path) -> None:
    vision = {"text_config": BERT | {"vocab_size": 30522}, "vision_config": ALIGN_IMAGE, "projection_dim": 16}
    transformers.AlignModel(transformers.AlignConfig(**vision)).save_pretrained(tmp_path / "align")
    Tokenizer.load(minilm()).save(tmp_path / "align")
    changes = [*PAIRS, f"data={data / 'captioned'}", f"align={tmp_path / 'align'}", "dims=4,16"]
    _run("align", data, tmp_path / "run", 2, changes)
    assert load(tmp_path / "run" / "model", DualEncoder).text.name == "align-text"
    with pytest.raises(InputError, match="channels must be 3 for ALIGN"):
        _run("align", data, tmp_path / "grey", 2, [*changes, "channels=1"])
