"""Class priors that differ from object to object, such as those of regions of the sky."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bayesclass.priors import Prior, PriorError, checked_draws, order_of

__all__ = ["ObjectPrior"]


@dataclass(frozen=True, eq=False)
class ObjectPrior:
    """A prior of each object, such as that of its region of the sky.

    Attributes
    ----------
    object_id : str array, shape (n,)
        Unique.
    leaves : tuple of str
        Two or more.
    probability : float64 array, shape (m, K)
        Rows as those of a `Prior`.
    row : int array, shape (n,), optional
        Row of `probability` that each object has; by default m = n and each has its own.
    name : str
    draws : float64 array, shape (n_draws, m, K), or None

    Raises
    ------
    PriorError
        If the shapes differ, an object or leaf repeats, or a row is no probabilities.
    """

    object_id: np.ndarray
    leaves: tuple[str, ...]
    probability: np.ndarray
    row: np.ndarray | None = None
    name: str = "by object"
    draws: np.ndarray | None = None

    def __post_init__(self):
        object_id = np.asarray(self.object_id, dtype=np.str_)
        p = np.array(self.probability, dtype=np.float64)
        row = np.arange(len(object_id)) if self.row is None else np.asarray(self.row)
        fits = p.ndim == 2 and row.shape == object_id.shape and row.dtype.kind in "iu"
        if not fits or (len(row) and not (row.min() >= 0 and row.max() < len(p))):
            raise PriorError(
                f"A prior of {len(object_id)} objects needs probabilities of shape (rows, leaves) and a row "
                f"of them for each object, found shape {p.shape} and rows {row.shape}: give one for each."
            )
        if len(np.unique(object_id)) != len(object_id):
            raise PriorError("Each object must have one prior, but an identifier repeats: keep one of each.")
        for i in range(len(p)):
            p[i] = Prior(self.leaves, p[i], f"{self.name}, row {i}").probability
        p.flags.writeable = False
        fields = {
            "object_id": object_id,
            "probability": p,
            "row": row,
            "leaves": tuple(map(str, self.leaves)),
        }
        if self.draws is not None:
            fields["draws"] = checked_draws(self.draws, p.shape, self.name)
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    def of_objects(
        self, object_id: np.ndarray, leaves: tuple[str, ...]
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Return the rows' probabilities in an order of the leaves, and each object's row.

        Parameters
        ----------
        object_id : str array, shape (n,)
            Any of those that have a prior here, in any order.
        leaves : tuple of str
            The same leaves.

        Returns
        -------
        probability : float64 array, shape (m, K)
        draws : float64 array, shape (n_draws, m, K), or None
        row : int array, shape (n,)

        Raises
        ------
        PriorError
            If the leaves are others, or an object has no prior.
        """
        order = order_of(self, leaves)
        position = {name: i for i, name in enumerate(self.object_id.tolist())}
        missing = [name for name in object_id.tolist() if name not in position]
        if missing:
            raise PriorError(
                f"The prior {self.name!r} must have every object, but {missing[0]} is missing "
                f"({len(missing)} such objects): add them, or take the other objects."
            )
        row = self.row[[position[name] for name in object_id.tolist()]]
        draws = None if self.draws is None else self.draws[:, :, order]
        return self.probability[:, order], draws, row.astype(int)

    def in_order(self, leaves: tuple[str, ...]) -> np.ndarray:
        """Return the objects' probabilities in another order of the same leaves, shape (n, K)."""
        return self.probability[self.row][:, order_of(self, leaves)]
