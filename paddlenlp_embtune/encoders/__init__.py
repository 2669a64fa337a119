"""Pretrained encoders: what one is, reading them from folders and by name, and writing them."""

from paddlenlp_embtune.encoders.loading import load_encoder
from paddlenlp_embtune.encoders.pretrained import POOLINGS, Pretrained
from paddlenlp_embtune.encoders.saving import save_encoder

__all__ = ["POOLINGS", "Pretrained", "load_encoder", "save_encoder"]
