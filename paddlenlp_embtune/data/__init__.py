"""Labelled rows and texts: readers and checks (no Paddle), datasets and batches (Paddle)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.data._records import data_files as data_files
    from paddlenlp_embtune.data.answers import (
        ANSWER_FORMATS as ANSWER_FORMATS,
        LABEL_COLUMN as LABEL_COLUMN,
        answer_columns as answer_columns,
        stream_rows as stream_rows,
        write_answers as write_answers,
    )
    from paddlenlp_embtune.data.dataset import (
        ROW_WEIGHTS as ROW_WEIGHTS,
        TEACHER_LOGITS as TEACHER_LOGITS,
        TEACHER_VECTORS as TEACHER_VECTORS,
        UNLABELLED as UNLABELLED,
        EncodedDataset as EncodedDataset,
        LengthBatchSampler as LengthBatchSampler,
        collate as collate,
        joined_weights as joined_weights,
    )
    from paddlenlp_embtune.data.in_memory import write_examples as write_examples
    from paddlenlp_embtune.data.label_batches import LabelBatchSampler as LabelBatchSampler
    from paddlenlp_embtune.data.masking import (
        MaskedBatch as MaskedBatch,
        MaskingSpec as MaskingSpec,
        mask_tokens as mask_tokens,
    )
    from paddlenlp_embtune.data.mined_rows import MinedRows as MinedRows
    from paddlenlp_embtune.data.pair_batches import (
        PairBatchSampler as PairBatchSampler,
        encode_pairs as encode_pairs,
        split_role as split_role,
    )
    from paddlenlp_embtune.data.pairs import Pairs as Pairs, read_pairs as read_pairs
    from paddlenlp_embtune.data.parquet_parts import (
        count_parquet_rows as count_parquet_rows,
        parquet_batches as parquet_batches,
    )
    from paddlenlp_embtune.data.readers import (
        Examples as Examples,
        ReadOptions as ReadOptions,
        read_examples as read_examples,
    )
    from paddlenlp_embtune.data.recombination import recombine_texts as recombine_texts
    from paddlenlp_embtune.data.soft_targets import SoftTargets as SoftTargets
    from paddlenlp_embtune.data.streaming import (
        read_texts as read_texts,
        stream_standard_input as stream_standard_input,
        stream_texts as stream_texts,
    )
    from paddlenlp_embtune.data.unlabelled import UnlabelledTexts as UnlabelledTexts, read_unlabelled as read_unlabelled
    from paddlenlp_embtune.data.validation import (
        DataReport as DataReport,
        check_cleaning as check_cleaning,
        check_examples as check_examples,
        discover_labels as discover_labels,
        hold_out as hold_out,
        text_key as text_key,
    )
    from paddlenlp_embtune.data.vector_files import (
        VECTOR_FILES as VECTOR_FILES,
        check_vector_file as check_vector_file,
        write_text_vectors as write_text_vectors,
    )
    from paddlenlp_embtune.data.windowed_dataset import (
        dataset_from_tokenized as dataset_from_tokenized,
        encode_texts as encode_texts,
    )
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_records": "data_files",
            "answers": "ANSWER_FORMATS LABEL_COLUMN answer_columns stream_rows write_answers",
            "dataset": "EncodedDataset LengthBatchSampler ROW_WEIGHTS TEACHER_LOGITS TEACHER_VECTORS UNLABELLED collate "
            "joined_weights",
            "in_memory": "write_examples",
            "label_batches": "LabelBatchSampler",
            "masking": "MaskedBatch MaskingSpec mask_tokens",
            "parquet_parts": "count_parquet_rows parquet_batches",
            "mined_rows": "MinedRows",
            "pair_batches": "PairBatchSampler encode_pairs split_role",
            "pairs": "Pairs read_pairs",
            "readers": "Examples ReadOptions read_examples",
            "recombination": "recombine_texts",
            "soft_targets": "SoftTargets",
            "streaming": "read_texts stream_standard_input stream_texts",
            "unlabelled": "UnlabelledTexts read_unlabelled",
            "validation": "DataReport check_cleaning check_examples discover_labels hold_out text_key",
            "vector_files": "VECTOR_FILES check_vector_file write_text_vectors",
            "windowed_dataset": "dataset_from_tokenized encode_texts",
        },
    )
