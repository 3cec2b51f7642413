"""The supplier's products: rows come in from the store, ready-made response bodies go out to the app."""

import asyncio
import json
import re

from demo.product import LARGEST_ID, Product
from demo.store import Store

#: A product id as a path may spell it: in one way only, so that one product has one address.
_ID = re.compile(r"[1-9][0-9]{0,18}")


class Catalogue:
    """The body of each product's response, by the id in its path."""

    def __init__(self, store: Store) -> None:
        """Load every product of `store`, in about a second for 100,000. Raises StoreError."""
        self._store = store
        self.bodies = self._load()

    async def reload(self) -> int:
        """Take over what the store holds now; returns the number of products. Raises StoreError."""
        self.bodies = await asyncio.to_thread(self._load)
        return len(self.bodies)

    async def look_up(self, product_id: str) -> bytes | None:
        """The body of a product that was seeded after the last load, or None. Raises StoreError."""
        if not _ID.fullmatch(product_id) or int(product_id) > LARGEST_ID:
            return None
        product = await asyncio.to_thread(self._store.details, int(product_id))
        if product is None:
            return None
        return self.bodies.setdefault(product_id, _body(product))

    def _load(self) -> dict[str, bytes]:
        return {str(product["product_id"]): _body(product) for product in self._store.all_details()}


def _body(product: Product) -> bytes:
    return json.dumps(product, ensure_ascii=False).encode()
