"""What can go wrong in the demo, each with the sentence its reader needs."""

from switchyard.errors import SwitchyardError


class ProductError(SwitchyardError):
    """These details are no product. Look at the row or the reply they came from."""


class StoreError(SwitchyardError):
    """The product store did not answer. Check DATABASE_URL and that its server runs."""


class SupplierError(SwitchyardError):
    """The supplier did not give what was asked. Check SUPPLIER_URL and that it runs."""


class SeedError(SwitchyardError):
    """There is nothing to seed the store from. Name a CSV file with --file."""
