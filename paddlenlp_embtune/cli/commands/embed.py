"""``embtune embed``: sentence vectors of texts, in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from paddlenlp_embtune.cli._console import err, print_notes
from paddlenlp_embtune.cli._data_format import DataFormat, reads_data
from paddlenlp_embtune.cli._options import DeviceOption, EngineOption, JsonOption
from paddlenlp_embtune.cli._texts import load_texts
from paddlenlp_embtune.data import check_vector_file, write_text_vectors
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.inference import Predictor

__all__ = ["embed"]


@reads_data(labels=False)
def embed(
    data_format: DataFormat,
    data: Annotated[Path, typer.Argument(metavar="FILE", help="Texts: .txt, one per line, or a file of rows.")],
    bundle: Annotated[Path, typer.Option(help="Folder of a bundle.")],
    out: Annotated[Path, typer.Option(help="File to write: .npy, an array, or .parquet, with the texts beside the vectors.")],
    dimensions: Annotated[
        Optional[int], typer.Option(min=1, help="Keep the first so many values of a vector; by default all.")
    ] = None,
    normalize: Annotated[bool, typer.Option("--normalize/--raw", help="Scale every vector to length 1, or leave it.")] = True,
    engine: EngineOption = "onnxruntime",
    precision: Annotated[str, typer.Option(help="Precision: fp32, or one that the bundle has.")] = "fp32",
    device: DeviceOption = "auto",
    threads: Annotated[Optional[int], typer.Option(min=1, help="CPU threads; by default one per processor, at most 8.")] = None,
    windows: Annotated[
        Optional[bool],
        typer.Option("--windows/--cut", help="Read long texts in windows, or truncate them; by default as the bundle states."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the sentence vector of every text, in the order of the input; of a blank one, a row of zeros."""
    check_vector_file(out)
    if out.resolve() == data.resolve():
        raise RecipeError(f"--out is {out}, which is read; give another file")
    texts = load_texts(data, data_format)
    with Predictor(
        bundle, engine=engine, precision=precision, device=device, num_threads=threads, windows=windows
    ) as predictor:
        vectors = predictor.embed(texts, dimensions=dimensions, normalize=normalize)
        cut, output = predictor.count_cut(texts), predictor.bundle.manifest.sentence_vectors
        most = predictor.bundle.manifest.max_length
    write_text_vectors(out, texts, vectors)
    pooling = output.pooling if output is not None else ""
    if cut:
        print_notes([f"{cut:,} of {len(texts):,} texts have more than the {most} tokens that the model reads and were cut"])
    if as_json:
        told = {"rows": len(texts), "dimensions": vectors.shape[1], "pooling": pooling, "normalized": normalize, "cut": cut}
        print(json.dumps({**told, "out": str(out)}, ensure_ascii=False))
    else:
        told_line = f"{len(texts):,} vectors of {vectors.shape[1]} values ({pooling or 'pooled by the model'}): {out}"
        err.print(told_line, markup=False, soft_wrap=True)
