"""Himalia: a notebook becomes a place to compute."""
