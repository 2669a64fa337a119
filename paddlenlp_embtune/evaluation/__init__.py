"""Evaluation: what a classifier is worth on labelled rows."""

from paddlenlp_embtune.evaluation.classification import agreement, classification_report, watched_metrics

__all__ = ["agreement", "classification_report", "watched_metrics"]
