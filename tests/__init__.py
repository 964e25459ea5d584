"""The tests of Himalia.

This file makes `tests` a package of this repository: without it, a `tests` package that some library installed by
mistake would be found instead. The folders below need no such file.
"""
