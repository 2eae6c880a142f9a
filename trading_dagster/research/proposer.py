"""Proposes the points that an optimiser tries next, from the values of those it has tried: Optuna behind our words.

The method is a tree-structured Parzen estimator over all dimensions at once: points are drawn where good values are
denser than bad ones. Points that are still being tried count as bad, so that those of a batch keep their distance.
Source: Bergstra, Bardenet, Bengio and Kegl, "Algorithms for Hyper-Parameter Optimization" (2011).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import Trial, TrialState

from trading_dagster.research.search_space import Axis, Place, SearchSpace
from trading_dagster.strategy.dimension import Categorical, Integer

PROPOSALS = 10
"""How often the method is asked for a point before a random one is taken instead of one that was tried."""

RANDOM_DRAWS = 1_000
MOST_LISTED = 100_000
"""Spaces of up to so many points are walked through for one that was not tried."""


class Proposer:
    """Proposes points of a space, no point twice; the same for the same seed and values.

    Args:
        space: What is searched.
        seed: Of all that is random.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        level = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # it announces that a study was made
        try:
            self._study = optuna.create_study(sampler=sampler, direction="minimize")
        finally:
            optuna.logging.set_verbosity(level)
        self._space = space
        self._random = np.random.default_rng(seed)
        self._distributions = {name: _distribution(axis) for name, axis in space.axes.items()}
        self._trials: dict[Place, Trial] = {}

    def ask(self, count: int) -> list[Place]:
        """Return up to so many points that were not proposed before; none when there are no more."""
        places = []
        for _ in range(count):
            place = self._propose()
            if place is None:
                break
            places.append(place)
        return places

    def tell(self, place: Place, value: float | None) -> None:
        """Note the value of a proposed point, the smaller the better; None where it must not be chosen."""
        if value is None:
            self._study.tell(self._trials[place], state=TrialState.PRUNED)  # worse than any that has a value
        else:
            self._study.tell(self._trials[place], value)

    def get_importances(self) -> dict[str, float]:
        """Return how much each dimension tells good points from the rest, in shares of 1; empty when it is not known.

        Source: Watanabe, Bansal and Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary
        Subspaces" (2023).
        """
        valued = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if len({trial.value for trial in valued}) < 2:
            return {}
        found = get_param_importances(self._study, evaluator=PedAnovaImportanceEvaluator())
        return {name: float(share) for name, share in found.items()}

    def _propose(self) -> Place | None:
        for _ in range(PROPOSALS):
            trial = self._study.ask(self._distributions)
            place = self._space.locate(trial.params)
            if place not in self._trials:
                self._trials[place] = trial
                return place
            self._study.tell(trial, state=TrialState.FAIL)  # forgotten: the point was tried under another number
        drawn = self._draw()
        if drawn is not None:
            self._study.enqueue_trial(self._describe(drawn))
            self._trials[drawn] = self._study.ask(self._distributions)
        return drawn

    def _draw(self) -> Place | None:
        """Return a random point that was not proposed, None when there is none or they are too rare to find."""
        if self._space.size <= MOST_LISTED:
            rest = [place for place in self._space.iterate() if place not in self._trials]
            return rest[int(self._random.integers(len(rest)))] if rest else None
        axes = self._space.axes.values()
        for _ in range(RANDOM_DRAWS):
            place = tuple(int(self._random.integers(axis.low, axis.high, endpoint=True)) for axis in axes)
            if place not in self._trials:
                return place
        return None

    def _describe(self, place: Place) -> dict[str, Any]:
        """Return a point as the method names it."""
        return {
            name: number if isinstance(axis.dimension, Integer | Categorical) else axis.value_at(number)
            for (name, axis), number in zip(self._space.axes.items(), place, strict=True)
        }


def _distribution(axis: Axis) -> BaseDistribution:
    dimension = axis.dimension
    if isinstance(dimension, Categorical):
        return CategoricalDistribution(range(axis.size))
    is_log = dimension.prior == "log-uniform"
    if isinstance(dimension, Integer):
        return IntDistribution(axis.low, axis.high, log=is_log)
    return FloatDistribution(dimension.low, dimension.high, log=is_log)
