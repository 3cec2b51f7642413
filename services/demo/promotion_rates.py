"""What each store promoted and sold comes in, units per promoted product-store-week with intervals go out."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import product
from typing import TypeAlias

from demo.bootstrap import Bootstrap, Estimate, differences, ratios

BOTH = "display and mailer"
DISPLAY = "display only"
MAILER = "mailer only"
#: BOTH and DISPLAY, which is what the report compares with MAILER.
ON_DISPLAY = "display, with or without mailer"
WAYS = (ON_DISPLAY, BOTH, DISPLAY, MAILER)
#: Units are few: of most promoted products no household in the data bought any in that store and week.
PER = 1000

#: Store, department, way, product-store-weeks, units.
Count: TypeAlias = Sequence[int | str]
#: A department, or the name of the whole, and a way.
Key: TypeAlias = tuple[str, str]


class Rates:
    """The rates of some stores, of each department and of the whole, by way of promotion."""

    def __init__(self, stores: Iterable[int], counts: Iterable[Count], whole: str) -> None:
        self.whole = whole
        self.stores = sorted(stores)  # so that the draws do not depend on who came first
        #: Product-store-weeks and units, each a number per store.
        self.counts = self._by_store(counts)
        self._bootstrap = Bootstrap(len(self.stores))
        self._values = {
            key: ratios(self._bootstrap.sums(units), self._bootstrap.sums(promoted), PER)
            for key, (promoted, units) in self.counts.items()
        }
        #: Units per PER product-store-weeks, the whole first, then departments by name.
        self.estimates = {
            key: self._bootstrap.estimate(self._values[key]) for key in sorted(self._values, key=self._place)
        }

    def of_whole(self) -> dict[str, Estimate]:
        """The estimates of all departments together, by way."""
        return {way: estimate for (name, way), estimate in self.estimates.items() if name == self.whole}

    def compared(self, way: str, other: str) -> tuple[Estimate, Estimate]:
        """By how much the rate of `way` differs from the other's, of the whole, and how many times the other's it is.

        Resample by resample: a store that sells much does so in both, which two separate intervals would not know.
        """
        values, others = (self._values.get((self.whole, name)) for name in (way, other))
        if values is None or others is None:
            return Estimate(None), Estimate(None)
        return self._bootstrap.estimate(differences(values, others)), self._bootstrap.estimate(ratios(values, others))

    def _by_store(self, counts: Iterable[Count]) -> dict[Key, tuple[list[int], list[int]]]:
        place = {store: number for number, store in enumerate(self.stores)}
        found: defaultdict[Key, tuple[list[int], list[int]]] = defaultdict(lambda: ([0] * len(place), [0] * len(place)))
        for store, department, way, promoted, units in counts:
            ways = (way,) if way == MAILER else (way, ON_DISPLAY)
            for key in product({str(department), self.whole}, map(str, ways)):
                found[key][0][place[int(store)]] += int(promoted)
                found[key][1][place[int(store)]] += int(units)
        return dict(found)

    def _place(self, key: Key) -> tuple[bool, str, int]:
        return key[0] != self.whole, key[0], WAYS.index(key[1])
