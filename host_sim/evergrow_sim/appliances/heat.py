"""Bodies that hold heat and pass it on. Portable; integers only, so that what one loses another gains to the last mJ."""


class Body:
    """A lump of `capacity` mJ per K that starts at `temp_mc` (thousandths of a degC). `heat_mj` is relative to 0 degC."""

    def __init__(self, capacity: int, temp_mc: int) -> None:
        self.capacity = capacity
        self.heat_mj = capacity * temp_mc // 1000

    @property
    def temp_mc(self) -> int:
        return self.heat_mj * 1000 // self.capacity


def flow(warm_mc: int, cold_mc: int, mw_per_k: int, dt_ms: int) -> int:
    """The heat (mJ) that passes from `warm_mc` to `cold_mc` in `dt_ms`; negative the other way."""
    return (warm_mc - cold_mc) * mw_per_k // 1000 * dt_ms // 1000


def exchange(one: Body, other: Body, mw_per_k: int, dt_ms: int) -> None:
    """Heat passes between two bodies."""
    moved = flow(one.temp_mc, other.temp_mc, mw_per_k, dt_ms)
    one.heat_mj -= moved
    other.heat_mj += moved
