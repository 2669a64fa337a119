"""Reading external text files: one decoder and one line splitter for all of them."""

__all__: list[str] = []
