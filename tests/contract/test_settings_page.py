"""docs/checkpoint_settings.md lists what the code knows of a checkpoint's settings. Run as a program, this file writes it."""

from __future__ import annotations

from pathlib import Path

from paddlenlp_embtune.encoders._model_settings import MODEL_SETTINGS
from paddlenlp_embtune.encoders._tokenizer_settings import SPECIAL_TOKENS, TOKENIZER
from paddlenlp_embtune.encoders.checkpoint_settings import KnownSettings

PAGE = Path(__file__).parents[2] / "docs" / "checkpoint_settings.md"
HEAD = """# Settings of a checkpoint

What `embtune adopt` and `model: {encoder: FOLDER}` do with each setting. A setting that is on no list is refused by name. This
page is generated from `encoders/_model_settings.py` and `encoders/_tokenizer_settings.py`, and a test compares them.
"""


def table(name: str, settings: KnownSettings) -> str:
    rows = [
        f"| `{key}` | understood: {what} |" for key, what in sorted(settings.understood.items()) if key not in settings.only
    ]
    for key, values in sorted(settings.only.items()):
        reason = f"; {settings.reasons[key]}" if key in settings.reasons else ""
        rows.append(f"| `{key}` | only {', '.join(f'`{value!r}`' for value in values)}, any other is refused{reason} |")
    harmless = ", ".join(f"`{key}`" for key in sorted(settings.harmless)) or "none"
    return "\n".join([f"\n## {name}\n", "| setting | |", "| --- | --- |", *rows, f"\nCannot change an answer: {harmless}."])


def page() -> str:
    parts = [
        table("config.json", MODEL_SETTINGS),
        table("tokenizer_config.json", TOKENIZER),
        table("special_tokens_map.json", SPECIAL_TOKENS),
    ]
    return HEAD + "\n".join(parts) + "\n"


def test_the_page_says_what_the_code_knows() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
