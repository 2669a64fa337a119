"""Helpers that know nothing of domains, models or Paddle: standard library, numpy and PyYAML only."""

__all__: list[str] = []
