"""A quantile forest: extremely randomised trees whose leaves keep the distribution of what fell into them.

One fit gives all quantiles (Meinshausen 2006, Quantile Regression Forests, JMLR 7; trees after Geurts et al.
2006). The fitted state is plain arrays, so it can be written and read without running foreign code.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor

from analytics.forecast.levels import LEVELS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAF_QUANTILES = 12


@dataclass(frozen=True, slots=True)
class QuantileForest:
    """Fitted trees, all nodes in one table.

    Attributes
    ----------
    roots : int array, shape (trees,)
        Node of each tree's root.
    feature : int array, shape (nodes,)
        Feature that a node asks for; below 0 at a leaf.
    threshold : array, shape (nodes,)
        A row goes left where its feature is not above the threshold.
    left, right : int arrays, shape (nodes,)
        Children; the node itself at a leaf.
    leaf : array, shape (nodes, LEAF_QUANTILES)
        Evenly spaced quantiles of the target in each leaf.
    """

    roots: Ints
    feature: Ints
    threshold: NDArray[np.float32]
    left: Ints
    right: Ints
    leaf: NDArray[np.float32]

    def leaves(self, features: NDArray[np.float32]) -> Ints:
        """Leaf of every row in every tree, shape (rows, trees)."""
        node = np.broadcast_to(self.roots, (len(features), len(self.roots))).copy()
        row = np.arange(len(features))[:, None]
        while True:
            asked = self.feature[node]
            if (asked < 0).all():
                return node
            goes_left = features[row, np.maximum(asked, 0)] <= self.threshold[node]
            node = np.where(goes_left, self.left[node], self.right[node])

    def quantiles(self, features: NDArray[np.float32]) -> Floats:
        """Quantiles at ``LEVELS``, shape (rows, levels)."""
        pool = self.leaf[self.leaves(features)].reshape(len(features), -1)
        pool.sort(axis=1)
        last = pool.shape[1] - 1
        place = np.clip(LEVELS * (last + 1) - 0.5, 0, last)
        below = np.floor(place).astype(np.int64)
        share = place - below
        quantiles: Floats = pool[:, below] * (1 - share) + pool[:, np.minimum(below + 1, last)] * share
        return quantiles


def fit_forest(
    features: NDArray[np.float32],
    target: Floats,
    *,
    trees: int,
    leaf_rows: int,
    sample: float,
    feature_share: float,
    seed: int,
) -> QuantileForest:
    """Grow a forest.

    Parameters
    ----------
    features : array, shape (rows, features)
    target : array, shape (rows,)
    trees, leaf_rows : int
        Number of trees; fewest rows of a leaf while growing.
    sample : float
        Share of the rows that each tree grows on; all rows then fill its leaves.
    feature_share : float
        Share of the features tried at each split.
    seed : int
    """
    grown = ExtraTreesRegressor(
        trees,
        min_samples_leaf=leaf_rows,
        max_features=feature_share,
        bootstrap=True,
        max_samples=sample,
        random_state=seed,
        n_jobs=1,
    ).fit(features, target)
    leaf_of = grown.apply(features)
    ascending = np.argsort(target, kind="stable")
    rank = (np.arange(LEAF_QUANTILES) + 0.5) / LEAF_QUANTILES
    roots, nodes, tables = [], [], []
    first = 0
    for number, estimator in enumerate(grown.estimators_):
        tree = estimator.tree_
        inner = tree.children_left >= 0
        itself = np.arange(tree.node_count)
        left = np.where(inner, tree.children_left, itself) + first
        right = np.where(inner, tree.children_right, itself) + first
        nodes.append((np.where(inner, tree.feature, -1), tree.threshold, left, right))
        roots.append(first)
        first += tree.node_count
        # Rows by leaf, and within a leaf by their target: its quantiles lie at fixed places.
        by_leaf = ascending[np.argsort(leaf_of[ascending, number], kind="stable")]
        count = np.bincount(leaf_of[:, number], minlength=tree.node_count)
        begin = np.cumsum(count) - count
        place = begin[:, None] + (rank * count[:, None]).astype(np.int64)
        tables.append(target[by_leaf][np.minimum(place, len(target) - 1)].astype(np.float32))
    feature, threshold, left, right = (np.concatenate(part) for part in zip(*nodes, strict=True))
    return QuantileForest(
        roots=np.array(roots, dtype=np.int64),
        feature=feature.astype(np.int64),
        threshold=threshold.astype(np.float32),
        left=left.astype(np.int64),
        right=right.astype(np.int64),
        leaf=np.concatenate(tables),
    )
