"""The command line ``embtune``: one small file per command."""

__all__: list[str] = []
