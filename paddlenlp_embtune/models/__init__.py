"""Models: each names its embedding and its head. Needs Paddle."""

from paddlenlp_embtune.models.building import build_model, embedding_name, set_embedding, try_model, with_table

__all__ = ["build_model", "embedding_name", "set_embedding", "try_model", "with_table"]
