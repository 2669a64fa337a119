"""Models: each names its embedding and its head. Needs Paddle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.models.character_ngrams import (
        CharacterNgrams as CharacterNgrams,
        characters_of as characters_of,
        fit_character_ngrams as fit_character_ngrams,
        ngram_logits as ngram_logits,
        piece_characters as piece_characters,
    )
    from paddlenlp_embtune.models.contrastive import pair_loss as pair_loss
    from paddlenlp_embtune.models.experts import Experts as Experts
    from paddlenlp_embtune.models.factory import (
        build_model as build_model,
        checked_options as checked_options,
        embedding_name as embedding_name,
        set_embedding as set_embedding,
        try_model as try_model,
        with_table as with_table,
    )
    from paddlenlp_embtune.models.features import (
        FeatureEngine as FeatureEngine,
        captured_features as captured_features,
        feature_width as feature_width,
    )
    from paddlenlp_embtune.models.head_regression import (
        HeadRegression as HeadRegression,
        fit_head as fit_head,
        set_head as set_head,
    )
    from paddlenlp_embtune.models.label_growth import grown as grown, with_labels as with_labels
    from paddlenlp_embtune.models.label_losses import Asymmetric as Asymmetric, BinaryCrossEntropy as BinaryCrossEntropy
    from paddlenlp_embtune.models.layer_cache import LayerCache as LayerCache, cacheable_layers as cacheable_layers
    from paddlenlp_embtune.models.layers import depth_parameters as depth_parameters, layerwise_groups as layerwise_groups
    from paddlenlp_embtune.models.losses import (
        CrossEntropy as CrossEntropy,
        Focal as Focal,
        RowLoss as RowLoss,
        SquaredEMD as SquaredEMD,
        weighted_mean as weighted_mean,
    )
    from paddlenlp_embtune.models.masked_lm import MaskedLanguageModel as MaskedLanguageModel
    from paddlenlp_embtune.models.paddle_engine import PaddleEngine as PaddleEngine, load_layer as load_layer
    from paddlenlp_embtune.models.pretrained_classifier import (
        PretrainedClassifier as PretrainedClassifier,
        classifier_on as classifier_on,
    )
    from paddlenlp_embtune.models.retrieval_losses import (
        cosent_loss as cosent_loss,
        cosine_loss as cosine_loss,
        labelled_loss as labelled_loss,
        paired_cosines as paired_cosines,
        ranking_loss as ranking_loss,
        semi_hard_triplet_loss as semi_hard_triplet_loss,
        triplet_loss as triplet_loss,
        twin_loss as twin_loss,
        with_dimensions as with_dimensions,
    )
    from paddlenlp_embtune.models.self_training import (
        PSEUDO_REGULARIZATION as PSEUDO_REGULARIZATION,
        PseudoLabels as PseudoLabels,
        pseudo_labels as pseudo_labels,
    )
    from paddlenlp_embtune.models.sentence_vectors import (
        LayerVectors as LayerVectors,
        SentenceVectors as SentenceVectors,
        prefix_ids as prefix_ids,
        sentence_vectors_of as sentence_vectors_of,
    )
    from paddlenlp_embtune.models.sequence_classifier import Encoder as Encoder
    from paddlenlp_embtune.models.task_heads import (
        head_arrays as head_arrays,
        head_names as head_names,
        set_former_head as set_former_head,
        with_head as with_head,
    )
    from paddlenlp_embtune.models.textcnn import TextCNN as TextCNN
    from paddlenlp_embtune.models.vectors_beside_logits import (
        LogitsAndVectors as LogitsAndVectors,
        vector_output as vector_output,
    )
    from paddlenlp_embtune.models.wrappers import fill_network as fill_network
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "character_ngrams": "CharacterNgrams characters_of fit_character_ngrams ngram_logits piece_characters",
            "contrastive": "pair_loss",
            "experts": "Experts",
            "factory": "build_model checked_options embedding_name set_embedding try_model with_table",
            "features": "FeatureEngine captured_features feature_width",
            "head_regression": "HeadRegression fit_head set_head",
            "label_growth": "grown with_labels",
            "layer_cache": "LayerCache cacheable_layers",
            "layers": "depth_parameters layerwise_groups",
            "label_losses": "Asymmetric BinaryCrossEntropy",
            "losses": "CrossEntropy Focal RowLoss SquaredEMD weighted_mean",
            "masked_lm": "MaskedLanguageModel",
            "paddle_engine": "PaddleEngine load_layer",
            "pretrained_classifier": "PretrainedClassifier classifier_on",
            "sentence_vectors": "LayerVectors SentenceVectors prefix_ids sentence_vectors_of",
            "retrieval_losses": (
                "cosent_loss cosine_loss labelled_loss paired_cosines ranking_loss semi_hard_triplet_loss triplet_loss "
                "twin_loss with_dimensions"
            ),
            "self_training": "PSEUDO_REGULARIZATION PseudoLabels pseudo_labels",
            "sequence_classifier": "Encoder",
            "task_heads": "head_arrays head_names set_former_head with_head",
            "textcnn": "TextCNN",
            "vectors_beside_logits": "LogitsAndVectors vector_output",
            "wrappers": "fill_network",
        },
    )
