"""The bundle: the folder that training leaves and inference loads. Reading it needs no Paddle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.bundle._copying import copy_files as copy_files
    from paddlenlp_embtune.bundle.continual import (
        StoredExample as StoredExample,
        other_heads as other_heads,
        read_fisher as read_fisher,
        read_head as read_head,
        read_stored_examples as read_stored_examples,
        write_fisher as write_fisher,
        write_heads as write_heads,
        write_stored_examples as write_stored_examples,
    )
    from paddlenlp_embtune.bundle.embedding import (
        bundle_folder as bundle_folder,
        draft_with_embedding as draft_with_embedding,
        embedding_table as embedding_table,
        model_name as model_name,
        read_bundle_weights as read_bundle_weights,
        read_model as read_model,
        without_programs as without_programs,
        write_embedding as write_embedding,
    )
    from paddlenlp_embtune.bundle.manifest import (
        Calibration as Calibration,
        LabelScaling as LabelScaling,
        Manifest as Manifest,
        ParityRecord as ParityRecord,
        QuantizedProgram as QuantizedProgram,
        VectorOutput as VectorOutput,
    )
    from paddlenlp_embtune.bundle.manifest_seal import (
        SCHEMA_VERSION as SCHEMA_VERSION,
        read_sealed as read_sealed,
        sealed_text as sealed_text,
    )
    from paddlenlp_embtune.bundle.reader import (
        INPUT_NAME as INPUT_NAME,
        OUTPUT_NAME as OUTPUT_NAME,
        VECTORS_NAME as VECTORS_NAME,
        Bundle as Bundle,
    )
    from paddlenlp_embtune.bundle.snapshot import (
        MANIFEST as MANIFEST,
        generation_of as generation_of,
        read_one_generation as read_one_generation,
    )
    from paddlenlp_embtune.bundle.tokenizer_spec import tokenizer_steps as tokenizer_steps
    from paddlenlp_embtune.bundle.vocabulary_check import token_metadata as token_metadata
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_copying": "copy_files",
            "continual": "StoredExample other_heads read_fisher read_head read_stored_examples write_fisher write_heads "
            "write_stored_examples",
            "embedding": (
                "bundle_folder draft_with_embedding embedding_table model_name read_bundle_weights read_model without_programs "
                "write_embedding"
            ),
            "manifest_seal": "SCHEMA_VERSION read_sealed sealed_text",
            "manifest": "Calibration LabelScaling Manifest ParityRecord QuantizedProgram VectorOutput",
            "reader": "Bundle INPUT_NAME OUTPUT_NAME VECTORS_NAME",
            "snapshot": "MANIFEST generation_of read_one_generation",
            "tokenizer_spec": "tokenizer_steps",
            "vocabulary_check": "token_metadata",
        },
    )
