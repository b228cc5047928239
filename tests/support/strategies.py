"""Hypothesis strategies that several tests use."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st


def trees(leaves: st.SearchStrategy[Any], names: st.SearchStrategy[str], depth: int = 3) -> st.SearchStrategy[Any]:
    """Leaves in lists and mappings, nested ``depth`` deep at most."""
    tree = leaves
    for _ in range(depth):
        tree = leaves | st.lists(tree, max_size=3) | st.dictionaries(names, tree, max_size=3)
    return tree
