"""Writing files and folders whole: atomic replacement, locks, seals, and errors that name the path."""

__all__: list[str] = []
