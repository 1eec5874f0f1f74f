"""A road over mock devices, and what every test of it must show at its end."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gnetseg_device.networks import FakeNetwork

from gnetsegd.link.model_upload import ModelRecord
from gnetsegd.model import ModelBundle
from gnetsegd.road import camera_loop, pipeline, supervisor
from gnetsegd.testing.road import Road

from .model import MODEL

MakeRoad = Callable[..., contextlib.AbstractContextManager[Road]]


@pytest.fixture(autouse=True)
def _threads_that_stop_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "BEAT_S", 0.05)
    monkeypatch.setattr(supervisor, "BEAT_S", 0.05)
    monkeypatch.setattr(camera_loop, "BEAT_S", 0.05)


@pytest.fixture
def road(ipc_endpoint: str) -> MakeRoad:
    """``with road(accelerator) as running``; afterwards every promise of the road must have held."""

    @contextlib.contextmanager
    def make(accelerator: Any, bundle: ModelBundle = MODEL, **options: Any) -> Iterator[Road]:
        network = options.pop("network", None) or FakeNetwork(ModelRecord.of(bundle), bundle.content)
        made = Road(accelerator, bundle, network, ipc_endpoint, **options)
        with made:
            yield made
        assert made.problems() == []

    return make


@pytest.fixture
def words(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """Everything that was logged so far."""
    caplog.set_level(logging.INFO, "gnetsegd")
    return lambda: caplog.text
