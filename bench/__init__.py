"""Benchmarks anyone can run, with their peers. Must never be imported by the product."""
