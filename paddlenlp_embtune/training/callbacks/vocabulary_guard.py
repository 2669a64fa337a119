"""The vocabulary in checkpoints: what the rows of the embedding stood for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.compat import TrainerCallback
from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.text import describe_vocabulary_difference
from paddlenlp_embtune.training.callbacks.base import checkpoint_folder
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.json_yaml import read_json

__all__ = ["VOCABULARY", "VocabularyGuardCallback"]

VOCABULARY = "embtune_vocabulary.json"


class VocabularyGuardCallback(TrainerCallback):  # type: ignore[misc]
    """Writes the tokens into every checkpoint, and refuses to continue from one that was trained with others.

    Args:
        tokens: the token of each row of the embedding.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = tuple(tokens)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Compare, where :meth:`check` has not been called before."""
        folder = checkpoint_folder(args, state)
        if folder is not None:
            self.check(folder)

    def check(self, folder: Path) -> None:
        """Compare; of a checkpoint with more or fewer rows, before Paddle finds that nothing fits.

        Args:
            folder: of the checkpoint.
        Raises:
            HostError: the checkpoint knows other tokens; the message shows the first ids that differ.
        """
        if not (folder / VOCABULARY).is_file():
            return
        trained = read_json(folder / VOCABULARY, error=HostError)
        if not isinstance(trained, list) or not all(isinstance(token, str) for token in trained):
            raise HostError(f"{folder / VOCABULARY} is damaged: it is no list of tokens; resume from another checkpoint")
        if difference := describe_vocabulary_difference(trained, self.tokens):
            raise HostError(
                f"{folder.name} was trained with another vocabulary: {difference}; bring its texts, terms and vectors "
                "back as they were, or start over with another --out"
            )

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the tokens beside the weights."""
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            write_text(folder / VOCABULARY, json.dumps(self.tokens) + "\n")
