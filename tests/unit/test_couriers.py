"""Those who keep a site in step go on after an error that nobody expected."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from services.run import couriers
from services.run.couriers import Couriers


class Surprise:
    """Fails as nobody expected, then says that it is enough."""

    def __init__(self, stop: threading.Event) -> None:
        self.calls = 0
        self._stop = stop

    def __call__(self, *_: object, **__: object) -> int:
        self.calls += 1
        if self.calls > 1:
            self._stop.set()
            return 0
        raise ZeroDivisionError


def made(**parts: object) -> Couriers:
    keeper = Couriers.__new__(Couriers)
    keeper._site = SimpleNamespace(**parts)
    keeper._threads = {}
    return keeper


def test_copies_are_proved_again_after_an_error_that_nobody_expected(monkeypatch):
    monkeypatch.setattr(couriers, "LOOK", 0.0)
    stop = threading.Event()
    prove = Surprise(stop)
    prover = threading.Thread(
        target=made(intake=SimpleNamespace(prove=prove))._prove, args=(stop,), daemon=True
    )
    prover.start()
    prover.join(20)
    assert prove.calls == 2


def test_members_are_looked_after_again_after_an_error_that_nobody_expected(monkeypatch):
    monkeypatch.setattr(couriers, "LOOK", 0.0)
    stop = threading.Event()
    keeper = made(intake=SimpleNamespace(prove=lambda *_, **__: 0))
    keeper._start_missing = look = Surprise(stop)
    keeper._tend = lambda: None
    keeper.run(stop)
    assert look.calls == 2
