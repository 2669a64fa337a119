"""Evaluation on labelled rows: metrics, calibration, significance, comparison, error analysis, retrieval."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.evaluation._temperature import fit_validated_temperature as fit_validated_temperature
    from paddlenlp_embtune.evaluation.calibration import (
        brier_score as brier_score,
        calibration_error as calibration_error,
        fit_temperature as fit_temperature,
        fit_thresholds as fit_thresholds,
        negative_log_likelihood as negative_log_likelihood,
        precision_held_out as precision_held_out,
        threshold_array as threshold_array,
    )
    from paddlenlp_embtune.evaluation.comparison import compare_tables as compare_tables, verdict as verdict
    from paddlenlp_embtune.evaluation.error_analysis import (
        analyze_predictions as analyze_predictions,
        calibration_table as calibration_table,
    )
    from paddlenlp_embtune.evaluation.forgetting import TaskSequence as TaskSequence, task_sequence as task_sequence
    from paddlenlp_embtune.evaluation.label_measures import LabelMeasures as LabelMeasures, measures_of as measures_of
    from paddlenlp_embtune.evaluation.metrics import (
        agreement as agreement,
        classification_report as classification_report,
        encode_labels as encode_labels,
        monitored_metrics as monitored_metrics,
        ordinal_metrics as ordinal_metrics,
    )
    from paddlenlp_embtune.evaluation.retrieval import (
        alignment as alignment,
        class_alignment as class_alignment,
        retrieval_metrics as retrieval_metrics,
        spearman as spearman,
        uniformity as uniformity,
    )
    from paddlenlp_embtune.evaluation.several_labels import (
        best_threshold as best_threshold,
        fit_label_scaling as fit_label_scaling,
        fit_label_thresholds as fit_label_thresholds,
        several_labels_report as several_labels_report,
    )
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_temperature": "fit_validated_temperature",
            "calibration": (
                "brier_score calibration_error fit_temperature fit_thresholds negative_log_likelihood precision_held_out "
                "threshold_array"
            ),
            "comparison": "compare_tables verdict",
            "error_analysis": "analyze_predictions calibration_table",
            "forgetting": "TaskSequence task_sequence",
            "label_measures": "LabelMeasures measures_of",
            "metrics": "agreement classification_report encode_labels monitored_metrics ordinal_metrics",
            "retrieval": "alignment class_alignment retrieval_metrics spearman uniformity",
            "several_labels": "best_threshold fit_label_scaling fit_label_thresholds several_labels_report",
        },
    )
