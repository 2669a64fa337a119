"""A small ERNIE checkpoint on disk, which AutoTokenizer and AutoModelForSequenceClassification load without a network.

What must be right:

- The whole classifier is saved. From a bare ``ErnieModel``, loading draws a head of its own with no more than a warning, so
  that nobody can tell where the head started. Another number of labels than the script's is an error.
- ``[PAD]`` is row 0: the model masks the id that its configuration says, 0, whatever the tokenizer pads with.
- ``initializer_range`` is ten times the default of 0.02. At 32 wide, the default leaves hardly any signal between the text and
  the pooled first token: accuracy stays at chance, and there is no best epoch to be seen.
- Model and tokenizer write their own JSON: the Auto classes read ``architectures`` from config.json and ``tokenizer_class``
  from tokenizer_config.json; weights and vocab.txt alone are refused.
- The folder is not given under a name that PaddleNLP has published: in ``ernie-1.0``, the Auto classes take the published
  configuration, not the one in the folder, and the weights do not fit.
"""

from __future__ import annotations

from pathlib import Path

import paddle
from paddlenlp.transformers import ErnieConfig, ErnieForSequenceClassification, ErnieTokenizer

from tests.helpers import ROWS, SAID

__all__ = ["WEIGHTS", "make_ernie"]

SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]")
WEIGHTS = "model_state.pdparams"


def make_ernie(folder: Path) -> Path:
    """Write an untrained classifier of 2 layers, 32 wide, over the characters of the invented rows, with its tokenizer."""
    folder.mkdir(parents=True)
    tokens = [*SPECIAL, *sorted({character for text, _ in ROWS for character in text})]
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(tokens) + "\n", encoding="utf-8")
    ErnieTokenizer(str(vocabulary)).save_pretrained(str(folder))
    config = ErnieConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        type_vocab_size=2,
        initializer_range=0.2,
        num_labels=len(SAID),
    )
    paddle.seed(0)
    ErnieForSequenceClassification(config).save_pretrained(str(folder))
    return folder
