"""What tests need, shipped: for tokenkeep's own suite and for applications that use tokenkeep.

`pytest_plugin` has fixtures, `contract` and `machine` test a store, `faulty` breaks one, `clock`
moves time, `authorization_server` is one. Importing this package loads none of them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tokenkeep.testing.clock import FakeClock as FakeClock
    from tokenkeep.testing.contract import DamageContract as DamageContract
    from tokenkeep.testing.contract import DurableContract as DurableContract
    from tokenkeep.testing.contract import ErasingContract as ErasingContract
    from tokenkeep.testing.contract import IndexedContract as IndexedContract
    from tokenkeep.testing.contract import StoreContract as StoreContract
    from tokenkeep.testing.contract import TrackingContract as TrackingContract
    from tokenkeep.testing.contract import TransactionalContract as TransactionalContract
    from tokenkeep.testing.contract import VersionedContract as VersionedContract
    from tokenkeep.testing.faulty import Fails as Fails
    from tokenkeep.testing.faulty import FaultyStore as FaultyStore
    from tokenkeep.testing.faulty import Lies as Lies
    from tokenkeep.testing.faulty import Stalls as Stalls
    from tokenkeep.testing.faulty import every_step as every_step
    from tokenkeep.testing.machine import store_machine as store_machine

_HOMES = {
    "DamageContract": "contract",
    "DurableContract": "contract",
    "ErasingContract": "contract",
    "Fails": "faulty",
    "FakeClock": "clock",
    "FaultyStore": "faulty",
    "IndexedContract": "contract",
    "Lies": "faulty",
    "Stalls": "faulty",
    "StoreContract": "contract",
    "TrackingContract": "contract",
    "TransactionalContract": "contract",
    "VersionedContract": "contract",
    "every_step": "faulty",
    "store_machine": "machine",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
