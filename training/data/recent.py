"""The user's last items of strictly earlier days, newest first."""

from bisect import bisect_left

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.data.tables import DAY, ITEM, ORDER, ROW, USER

Items = list[str]


def of_rows(
    frame: pl.DataFrame, length: int, where: NDArray[np.bool_] | None = None
) -> NDArray[np.object_]:
    """(N,) lists of at most `length` items; rows of one user and day share theirs."""
    seen = _seen(frame, where)
    asked = frame.select(USER, DAY).unique().sort(USER, DAY)
    lists = _before(seen, asked[USER].to_list(), asked[DAY].to_list(), length)
    keyed = asked.with_row_index("@list")
    which = frame.select(USER, DAY).join(keyed, on=[USER, DAY], how="left", maintain_order="left")
    rows = np.empty(len(lists), object)
    rows[:] = lists
    shared: NDArray[np.object_] = rows[which["@list"].to_numpy()]
    return shared


def as_of(
    frame: pl.DataFrame, day: int, length: int, where: NDArray[np.bool_] | None = None
) -> dict[str, Items]:
    """User id -> items before `day`, for users who have any."""
    users = frame[USER].unique().sort().to_list()
    lists = _before(_seen(frame, where), users, [day] * len(users), length)
    return {user: items for user, items in zip(users, lists, strict=True) if items}


def _seen(
    frame: pl.DataFrame, where: NDArray[np.bool_] | None
) -> dict[str, tuple[list[int], Items]]:
    """User id -> days and items, oldest first."""
    rows = frame if where is None else frame.filter(pl.Series(where))
    by_user = rows.sort(DAY, ORDER, ROW).group_by(USER).agg(DAY, ITEM)
    return {user: (days, items) for user, days, items in by_user.iter_rows()}


def _before(
    seen: dict[str, tuple[list[int], Items]], users: list[str], days: list[int], length: int
) -> list[Items]:
    lists: list[Items] = []
    for user, day in zip(users, days, strict=True):
        past_days, items = seen.get(user, ([], []))
        end = bisect_left(past_days, day)
        lists.append(items[max(0, end - length) : end][::-1])
    return lists
