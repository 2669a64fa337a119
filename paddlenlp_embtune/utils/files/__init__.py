"""Atomic writes of files and folders, locks, seals, and errors that name the path."""

__all__: list[str] = []
