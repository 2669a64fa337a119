"""Fine-tune a pretrained model on labelled texts with PaddleNLP alone; test_foreign_script.py runs it.

Data files are TSV with a header and the columns text and label. Training continues from the last checkpoint in the output
folder.
"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import paddle
from paddle.metric import Accuracy
from paddlenlp.data import DataCollatorWithPadding
from paddlenlp.datasets import load_dataset
from paddlenlp.trainer import PdArgumentParser, Trainer, TrainingArguments, get_last_checkpoint
from paddlenlp.transformers import AutoModelForSequenceClassification, AutoTokenizer


@dataclass
class ModelArguments:
    model_name_or_path: str = field(metadata={"help": "A folder with model and tokenizer, or the name of a published model."})


@dataclass
class DataArguments:
    train_path: str = field(metadata={"help": "Rows to train on."})
    dev_path: str = field(metadata={"help": "Rows to evaluate on."})
    max_seq_length: int = field(default=128, metadata={"help": "Longer texts are cut."})


def read_rows(path):
    header, *lines = Path(path).read_text(encoding="utf-8").splitlines()
    for line in lines:
        yield dict(zip(header.split("\t"), line.split("\t"), strict=True))


def encode(row, tokenizer, label_list, max_seq_length):
    encoded = tokenizer(row["text"], max_length=max_seq_length, truncation=True)
    encoded["labels"] = label_list.index(row["label"])
    return encoded


def compute_metrics(result):
    logits = result.predictions[0] if isinstance(result.predictions, tuple) else result.predictions
    metric = Accuracy()
    metric.update(metric.compute(paddle.to_tensor(logits), paddle.to_tensor(result.label_ids)))
    return {"accuracy": metric.accumulate()}


def main():
    parser = PdArgumentParser((ModelArguments, DataArguments, TrainingArguments))
    model_args, data_args, training_args = parser.parse_args_into_dataclasses()
    training_args.print_config(model_args, "Model")
    training_args.print_config(data_args, "Data")
    paddle.set_device(training_args.device)

    checkpoint = training_args.resume_from_checkpoint
    if checkpoint is None and Path(training_args.output_dir).is_dir() and not training_args.overwrite_output_dir:
        checkpoint = get_last_checkpoint(training_args.output_dir)

    train_ds = load_dataset(read_rows, path=data_args.train_path, lazy=False)
    dev_ds = load_dataset(read_rows, path=data_args.dev_path, lazy=False)
    label_list = sorted({row["label"] for row in train_ds})

    tokenizer = AutoTokenizer.from_pretrained(model_args.model_name_or_path)
    model = AutoModelForSequenceClassification.from_pretrained(model_args.model_name_or_path, num_classes=len(label_list))
    convert = partial(encode, tokenizer=tokenizer, label_list=label_list, max_seq_length=data_args.max_seq_length)
    train_ds, dev_ds = train_ds.map(convert), dev_ds.map(convert)

    trainer = Trainer(
        model=model,
        criterion=paddle.nn.CrossEntropyLoss(),
        args=training_args,
        data_collator=DataCollatorWithPadding(tokenizer),
        train_dataset=train_ds if training_args.do_train else None,
        eval_dataset=dev_ds,
        tokenizer=tokenizer,
        compute_metrics=compute_metrics,
    )

    if training_args.do_train:
        train_result = trainer.train(resume_from_checkpoint=checkpoint)
        trainer.save_model()
        trainer.log_metrics("train", train_result.metrics)
        trainer.save_metrics("train", train_result.metrics)
        trainer.save_state()

    if training_args.do_eval:
        eval_metrics = trainer.evaluate()
        trainer.log_metrics("eval", eval_metrics)
        trainer.save_metrics("eval", eval_metrics)


if __name__ == "__main__":
    main()
