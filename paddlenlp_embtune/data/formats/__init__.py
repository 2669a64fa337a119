"""The formats of data files beside delimited text and JSON, and what they share: which column is the text, which the label."""

__all__: list[str] = []
