"""Benchmarks: figures that anyone can make again. Not collected by pytest."""
