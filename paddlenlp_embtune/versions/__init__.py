"""Versions of an embedding: a store of them, and what differs between two. Needs numpy only."""

from paddlenlp_embtune.versions.store import VectorStore
from paddlenlp_embtune.versions.version import Version

__all__ = ["VectorStore", "Version"]
