"""The shapes of requests and responses, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Optional, Union

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "EmbedRequest",
    "EmbedResponse",
    "EmbeddingsRequest",
    "EmbeddingsResponse",
    "ErrorResponse",
    "ModelInfo",
    "ModelList",
    "PredictRequest",
    "PredictResponse",
    "Status",
    "error_responses",
]

_LABELS = ["强烈利空", "轻微利空", "中性", "轻微利好", "强烈利好"]


class PredictRequest(BaseModel):
    """Texts to label: either ``texts`` or ``text``; null is the same as leaving it out."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"texts": ["公司拟以十亿元回购股份并全部注销"]}]})

    texts: Optional[list[str]] = Field(None, description="Texts to label, blanks included.")
    text: Optional[str] = Field(None, description="One text, instead of texts.")
    scores: bool = Field(False, description="Also return the probability of every label.")


class Window(BaseModel):
    """The part of a long text with the highest probability of its label."""

    start: int = Field(description="Its first character, counted from 0.", examples=[0])
    end: int = Field(description="The character after its last one.", examples=[118])
    windows: int = Field(description="How many parts the text was read in.", examples=[3])


class GivenLabel(BaseModel):
    """One of several labels of a text."""

    label: str = Field(description="The label.", examples=["业绩"])
    score: float = Field(description="Its probability.", examples=[0.93])


class Answer(BaseModel):
    """The answer to one text. Keys that do not apply to a bundle, or were not asked for, are left out."""

    model_config = ConfigDict(extra="allow")

    label: Optional[str] = Field(
        None, description="The label; null for a text without a visible character.", examples=["强烈利好"]
    )
    score: Optional[float] = Field(None, description="Probability of the label.", examples=[0.93])
    labels: Optional[list[GivenLabel]] = Field(
        None,
        description="In place of label and score where a text may have several labels: those that it gets, the surest first.",
    )
    cut: Optional[bool] = Field(
        None, description="True where the text has more tokens than the model reads: the rest was left out.", examples=[True]
    )
    abstained: Optional[bool] = Field(None, description="Where thresholds are set: whether the score is below its label's.")
    window: Optional[Window] = Field(None, description="Where long texts are read in windows: the decisive one.")
    scores: Optional[dict[str, float]] = Field(None, description="Probability of every label, if asked for.")
    level: Optional[float] = Field(
        None, description="With scores, of ordered labels: the expected label's number, counted from 0."
    )
    level_spread: Optional[float] = Field(None, description="With scores, of ordered labels: the level's standard deviation.")


class PredictResponse(BaseModel):
    """One answer for each text, in their order."""

    model: str = Field(examples=["finance"])
    results: list[Answer]


class EmbedRequest(BaseModel):
    """Texts to turn into sentence vectors: either ``texts`` or ``text``; null is the same as leaving it out."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"texts": ["公司拟以十亿元回购股份并全部注销"]}]})

    texts: Optional[list[str]] = Field(None, description="Texts to embed, blanks included.")
    text: Optional[str] = Field(None, description="One text, instead of texts.")
    dimensions: Optional[int] = Field(None, description="Keep the first so many values of a vector; null keeps all.", ge=1)


class EmbedResponse(BaseModel):
    """One vector of length 1 for each text, in their order; of zeros for a text without a visible character."""

    model: str = Field(examples=["finance"])
    dimensions: int = Field(description="Values of a vector.", examples=[384])
    vectors: list[list[float]]


class EmbeddingsRequest(BaseModel):
    """Texts to turn into sentence vectors, in the form of OpenAI's clients."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"model": "finance", "input": ["公司拟以十亿元回购股份并全部注销"]}]}
    )

    model: str = Field(description="Name of a model that is served.")
    input: Union[str, list[str]] = Field(description="A text, or several; token ids are refused.")
    dimensions: Optional[int] = Field(None, description="Keep the first so many values of a vector; null keeps all.", ge=1)
    encoding_format: Optional[str] = Field(None, description="float (the default), or base64 of little-endian float32.")
    user: Optional[str] = Field(None, description="Is not used.")


class Embedding(BaseModel):
    """The vector of one text."""

    object: str = Field(examples=["embedding"])
    index: int = Field(description="The number of its text, counted from 0.", examples=[0])
    embedding: Union[list[float], str] = Field(description="The vector, of length 1.")


class Usage(BaseModel):
    """What OpenAI's clients expect to be told; tokens are those of the model, of texts up to what it reads."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(BaseModel):
    """The vectors of all texts, in their order."""

    object: str = Field(examples=["list"])
    data: list[Embedding]
    model: str = Field(examples=["finance"])
    usage: Usage


class Windows(BaseModel):
    """How long texts are read in windows."""

    overlap_tokens: int = Field(description="The most tokens that a window repeats of the previous one.", examples=[32])
    aggregate: str = Field(description="How the answers of windows are combined: mean, length or max.", examples=["mean"])


class ModelInfo(BaseModel):
    """A model that is served."""

    name: str = Field(examples=["finance"])
    domain: Optional[str] = Field(description="The domain it was trained for.", examples=["finance"])
    labels: list[str] = Field(description="In order.", examples=[_LABELS])
    kind: str = Field(description="Of the labels: single, ordered or multi.", examples=["ordered"])
    ordered: bool = Field(description="Whether the labels are ordered.")
    max_length: int = Field(description="The most tokens that the model reads at once.", examples=[64])
    windows: Optional[Windows] = Field(description="How longer texts are read; null if they are cut.")
    thresholds: Optional[dict[str, float]] = Field(
        description="By label, the score below which an answer abstains; null if there are no thresholds."
    )
    engine: str = Field(description="The engine that runs the bundle.", examples=["onnxruntime"])
    precision: str = Field(description="fp32, or what the bundle was quantized to.", examples=["fp32"])
    dimensions: Optional[int] = Field(description="Values of a sentence vector; null if the bundle gives none.", examples=[384])
    fingerprint: str = Field(description="SHA-256 of bundle.json, which names the SHA-256 of every other file.")
    loaded_at: str = Field(description="When the bundle was opened, UTC.", examples=["2025-01-31T12:00:00.000+00:00"])


class ModelList(BaseModel):
    """All models that are served."""

    models: list[ModelInfo]


class Status(BaseModel):
    """The state of the server, as one word."""

    status: str = Field(examples=["ready"])


class ErrorDetail(BaseModel):
    """The code and the message of an error."""

    code: str = Field(description="One word, for programs.", examples=["invalid_request"])
    message: str = Field(
        description="What is wrong, what is expected, and the next step.", examples=["texts[1] is null; expected a string"]
    )


class ErrorResponse(BaseModel):
    """The shape of every error."""

    error: ErrorDetail


def error_responses(**by_status: str) -> dict[int | str, dict[str, Any]]:
    """Describe error responses for the OpenAPI document, by status: ``error_responses(_404="There is no such model.")``."""
    found: dict[int | str, dict[str, Any]] = {
        int(status.removeprefix("_")): {"model": ErrorResponse, "description": text} for status, text in by_status.items()
    }
    return {**found, "default": {"model": ErrorResponse, "description": "Any other error."}}
