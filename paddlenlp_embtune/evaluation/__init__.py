"""Evaluation: what a classifier is worth on labelled rows."""

from paddlenlp_embtune.evaluation.classification import classification_report

__all__ = ["classification_report"]
