"""The shelf of forecast models: which one answers, where it comes from, how it was judged, and the way back.

A model is a file that `analytics.forecast.persistence` wrote (plain arrays, nothing is unpickled) and a JSON beside it. The
newest promoted one answers; the few before it stay for a rollback.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from domain.errors import InputError

KEPT = 5


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known of a model.

    Parameters
    ----------
    fitted
        When, UTC ms; also its name.
    first, last
        Training window, ISO times.
    missing_share
        Share of the window without a measured value.
    version
        Of the code that fitted it.
    to_seasonal_naive, to_persistence
        Pinball loss over that of the baselines in the backtest that judged it, below 1 is better; None before it
        was judged.
    aside, follows
        Booked racks that the model leaves to the plans, and what follows their power, W per W; see `analytics.planned.scheduled`.
    """

    fitted: int
    first: str
    last: str
    missing_share: float
    version: str
    to_seasonal_naive: float | None = None
    to_persistence: float | None = None
    aside: tuple[str, ...] = ()
    follows: float = 0.0

    @property
    def proven(self) -> bool | None:
        """Whether it beat both baselines; None before it was judged."""
        if self.to_seasonal_naive is None or self.to_persistence is None:
            return None
        return max(self.to_seasonal_naive, self.to_persistence) < 1


class ModelShelf:
    """The models of one series, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def cards(self) -> list[ModelCard]:
        """Return the cards of all models, newest first; one that cannot be read is left out."""
        found = []
        for file in sorted(self._folder.glob("*.json"), reverse=True):
            try:
                told = json.loads(file.read_text(encoding="utf-8"))
                card = ModelCard(**told | {"aside": tuple(told.get("aside", ()))})
            except (OSError, ValueError, TypeError):
                continue
            if self.path(card).exists():
                found.append(card)
        return found

    def path(self, card: ModelCard) -> Path:
        """Return where a model's file is."""
        return self._folder / f"{card.fitted}.npz"

    def put(self, card: ModelCard) -> None:
        """Write a card (again); its model's file must be there. Models beyond the newest few are removed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / f"{card.fitted}.json"
        unfinished = file.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(asdict(card)), encoding="utf-8")
        unfinished.replace(file)
        for old in self.cards()[KEPT:]:
            self.remove(old)
        # what a fit that was cut off left behind: a model without a card, a card without a model
        whole = {str(c.fitted) for c in self.cards()}
        for stray in self._folder.iterdir():
            if stray.suffix in (".npz", ".json", ".unfinished") and stray.stem not in whole:
                stray.unlink(missing_ok=True)

    def remove(self, card: ModelCard) -> None:
        """Take a model off the shelf."""
        self.path(card).unlink(missing_ok=True)
        (self._folder / f"{card.fitted}.json").unlink(missing_ok=True)

    def rollback(self) -> ModelCard:
        """Remove the newest model and return the one that answers now.

        Raises
        ------
        InputError
            If there is no older one.
        """
        cards = self.cards()
        if len(cards) < 2:
            raise InputError("there is no older model to go back to")
        self.remove(cards[0])
        return cards[1]
