"""The figures of a report, drawn with matplotlib."""

__all__: list[str] = []
