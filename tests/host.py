"""The Trainer that tests run on, PaddleNLP's or PaddleFormers': see ``compat.trainer_module``. Import its classes from here."""

from __future__ import annotations

from typing import Any

from paddlenlp_embtune import compat

module = compat.trainer_module()

Trainer = module.Trainer
TrainerCallback = module.TrainerCallback
TrainerControl = module.TrainerControl
TrainerState = module.TrainerState
TrainingArguments = module.TrainingArguments

ON_PADDLEFORMERS = compat.host_name() == "paddleformers"

ARGUMENTS: dict[str, Any] = (
    {"amp_master_grad": False, "save_checkpoint_format": None, "load_checkpoint_format": None} if ON_PADDLEFORMERS else {}
)
"""What this host's ``TrainingArguments`` must be given to train in float32 on a CPU and to resume."""
