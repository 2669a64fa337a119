"""Options and arguments that several commands share, each described once; those for columns are in ``_data_format``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from paddlenlp_embtune.embeddings.init import FALLBACKS
from paddlenlp_embtune.text import TOKENIZERS

__all__ = [
    "BundleArgument",
    "BundleOrRunArgument",
    "BundleOutOption",
    "CalibrationRowsOption",
    "CasedOption",
    "DamagedOption",
    "DevelopmentRowsOption",
    "DeviceOption",
    "EngineOption",
    "EpochsOption",
    "FallbacksOption",
    "FormatOption",
    "JsonLinesOption",
    "JsonOption",
    "MaxLengthOption",
    "MinCountOption",
    "NewBundleOption",
    "NoBaselineOption",
    "OverwriteOption",
    "ParityTextsOption",
    "PrecisionOption",
    "RecipeArgument",
    "ReplaceRunOption",
    "ResumeOption",
    "RunOption",
    "SeedOption",
    "SkipEmptyOption",
    "StoreOption",
    "TensorOption",
    "TermGroupsOption",
    "TextFileOption",
    "TextRowsOption",
    "TokenizerOption",
    "TokensOption",
    "TrainingRowsOption",
    "VectorsArgument",
    "VocabularyOption",
]

# Training
RecipeArgument = Annotated[Optional[Path], typer.Argument(help="Recipe (YAML); without one, the defaults.")]
TrainingRowsOption = Annotated[
    Optional[str], typer.Option(help="Training set: a file, folder or pattern, see docs/how-to/data.md.")
]
DevelopmentRowsOption = Annotated[Optional[str], typer.Option(help="Development set; by default a tenth of --data.")]
RunOption = Annotated[Path, typer.Option(help="Folder of the run: recipe, record, metrics and bundle.")]
EpochsOption = Annotated[Optional[int], typer.Option(help="Passes over the training set; by default fewer for larger sets.")]
PrecisionOption = Annotated[
    Optional[str],
    typer.Option(
        help="Of an encoder's products in training steps on a CPU: fp32 (the default), bf16, or auto for the faster one."
    ),
]
SeedOption = Annotated[Optional[int], typer.Option(help="Random seed of data order, dropout and initialisation.")]
MaxLengthOption = Annotated[Optional[int], typer.Option(help="Maximum number of tokens; longer texts are cut.")]
SkipEmptyOption = Annotated[bool, typer.Option("--skip-empty", help="Leave out rows with an empty text.")]
NoBaselineOption = Annotated[bool, typer.Option("--no-baseline", help="Fit no baseline beside the model.")]
ReplaceRunOption = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in --out.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Resume an interrupted run from its last checkpoint.")]

# Bundles
BundleArgument = Annotated[Path, typer.Argument(help="Folder of a bundle.")]
BundleOrRunArgument = Annotated[Path, typer.Argument(help="Folder of a bundle, or of its run.")]
BundleOutOption = Annotated[Optional[Path], typer.Option(help="Write the bundle here instead of replacing it.")]
NewBundleOption = Annotated[Path, typer.Option("--out", help="Folder of the new bundle.")]
EngineOption = Annotated[str, typer.Option(help="Engine: onnxruntime, paddle_inference or paddle.")]
DeviceOption = Annotated[str, typer.Option(help="Device: cpu, gpu, or auto (a GPU where there is one).")]
ParityTextsOption = Annotated[Optional[Path], typer.Option(help="Texts for the parity check, in addition to random ones.")]
CalibrationRowsOption = Annotated[
    Optional[Path], typer.Option(help="Labelled rows that the model was not trained on, for calibration and measurement.")
]

# Texts and tokens
TextRowsOption = Annotated[Optional[Path], typer.Option(help="File of rows whose texts are used.")]
TextFileOption = Annotated[Optional[Path], typer.Option(help="File of texts, one per line (.txt).")]
TokenizerOption = Annotated[Optional[str], typer.Option(help=f"Tokenizer: {', '.join(TOKENIZERS)}; by default char.")]
VocabularyOption = Annotated[
    Optional[Path], typer.Option(help="Vocabulary: vocab.txt for wordpiece, a .model file for sentencepiece.")
]
MinCountOption = Annotated[int, typer.Option("--min-count", min=1, help="Drop tokens rarer than this.")]
CasedOption = Annotated[bool, typer.Option("--cased", help="Keep case; by default it is folded.")]

# Files of vectors, and stored versions
VectorsArgument = Annotated[str, typer.Argument(help="File of vectors, folder of a checkpoint, bundle, or lac.")]
FormatOption = Annotated[Optional[str], typer.Option("--format", help="Format of the vectors; by default detected.")]
TokensOption = Annotated[Optional[Path], typer.Option(help="Tokens of an array without any, one per line.")]
TensorOption = Annotated[Optional[str], typer.Option(help="Name of the table in a file with several.")]
DamagedOption = Annotated[str, typer.Option(help="Damaged rows: refuse (the file), or skip (and count them).")]
FallbacksOption = Annotated[
    Optional[str],
    typer.Option(
        help=f"Fallbacks for tokens without a row, in order, separated by commas: {', '.join(FALLBACKS)}; or none. By default "
        "those of training."
    ),
]
StoreOption = Annotated[
    Optional[Path], typer.Option(help="Folder of the store, or of its run; by default that of --bundle, or the current folder.")
]
TermGroupsOption = Annotated[Optional[Path], typer.Option(help="Term groups: JSON or YAML, lists of terms by group name.")]

# Output
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace existing output.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
JsonLinesOption = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]
