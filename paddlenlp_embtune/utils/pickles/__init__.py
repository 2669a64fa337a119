"""Reading pickled arrays of numpy, Paddle and PyTorch without running anything that a pickle names."""

__all__: list[str] = []
