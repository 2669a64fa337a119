"""The commands of ``embtune``, one a file."""

__all__: list[str] = []
