"""This machine's cameras on Zenoh: newest only, rate by rate, and a token for each camera that lives.

A lost one is a message, not a silence.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import zmq

from ...client import MaskSubscriber, NoData
from ...client.connect import subscribe
from ...errors import MessageError
from ...message import parse_header, parse_json
from ...quiet import Quiet
from ...text import clean
from .. import zones
from ..here import MAX_CAMERAS, endpoints_here, listen
from . import link, packing
from .config import ROOT, FleetConfig

log = logging.getLogger(__name__)

#: New cameras are looked for so often.
LOOK_S = 5.0
#: A daemon says its status each second; after so long without one it is lost.
SILENT_S = 3.0
_POLL_S = 0.25
ERROR_PAUSE_S = 1.0
STOP_S = 2.0


class Pace:
    """One each ``every_s`` on the average: of so many that come as are wanted none is left out, though one
    comes a little early and the next a little late.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._due: float | None = None

    def is_due(self, now: float) -> bool:
        if self._due is not None and now < self._due:
            return False
        # Behind a rest one is made up for, and no more.
        self._due = now + self._every_s if self._due is None else max(self._due + self._every_s, now)
        return True


class Camera:
    """One camera's messages, as they come, in a thread of its own."""

    def __init__(self, session: Any, host: str, endpoint: str, camera: str, config: FleetConfig) -> None:
        self._session, self.endpoint, self.camera, self._send = session, endpoint, camera, config.send
        self._prefix = f"{ROOT}/{host}/{camera}"
        self._areas = zones.Followed(zones.path_of(Path(self._send.zones_dir), camera))
        self._token: Any = None
        self._publishers: dict[str, Any] = {}
        self._heard = time.monotonic()
        hz = self._send.status_hz
        self._paces = {"status": Pace(1 / hz), "info": Pace(1 / hz)}
        if self._send.mask_hz:
            self._paces["mask"] = Pace(1 / self._send.mask_hz)
        self._quiet = Quiet()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, name=f"zenoh {camera}", daemon=True)]
        if self._send.presence_hz:
            self._threads.append(
                threading.Thread(target=self._tell_presence, name=f"presence {camera}", daemon=True)
            )

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def speaks(self) -> bool:
        """Its daemon was heard, or may still be, as it has just been found."""
        return time.monotonic() - self._heard <= SILENT_S

    def end(self) -> None:
        """Ask it to stop, without waiting."""
        self._stop.set()

    def stop(self) -> None:
        self.end()
        for thread in self._threads:
            thread.join(STOP_S)
        for publisher in self._publishers.values():
            with suppress(Exception):
                publisher.undeclare()

    def _publisher(self, kind: str) -> Any:
        if kind not in self._publishers:
            zenoh = link.load()
            # What matters most goes first where there is no room for all.
            priority = {
                "presence": zenoh.Priority.INTERACTIVE_HIGH,
                "status": zenoh.Priority.DATA_HIGH,
                "info": zenoh.Priority.DATA_HIGH,
                "mask": zenoh.Priority.DATA_LOW,
            }[kind]
            self._publishers[kind] = self._session.declare_publisher(
                f"{self._prefix}/{kind}", congestion_control=zenoh.CongestionControl.DROP, priority=priority
            )
        return self._publishers[kind]

    def _put(self, kind: str, data: bytes) -> None:
        try:
            self._publisher(kind).put(data)
        except link.load().ZError as error:
            if self._quiet.may_say():
                log.warning("%s/%s: %s%s", self._prefix, kind, clean(str(error), 200), self._quiet.left_out())

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._pass_on()
            except Exception as error:  # whatever Zenoh may raise; one camera's trouble is not another's
                self._complain(error)
                self._stop.wait(ERROR_PAUSE_S)

    def _pass_on(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        sockets = {subscribe(self.endpoint, kind, self.camera, context=context): kind for kind in self._paces}
        status = next(socket for socket, kind in sockets.items() if kind == "status")
        monitor = status.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        poller = zmq.Poller()
        for socket in (*sockets, monitor):
            poller.register(socket, zmq.POLLIN)
        try:
            while not self._stop.is_set():
                for socket, _ in poller.poll(int(_POLL_S * 1000)):
                    if socket is monitor:
                        monitor.recv_multipart()
                        self._lost("its daemon has gone")
                        continue
                    with suppress(zmq.Again):
                        self._take(sockets[socket], socket.recv(zmq.NOBLOCK))
                if self._token is not None and time.monotonic() - self._heard > SILENT_S:
                    self._lost("its daemon is silent")
        finally:
            self._lost("")
            status.disable_monitor()
            monitor.close(linger=0)  # or the context would wait for it for ever
            for socket in sockets:
                socket.close(linger=0)
            context.term()

    def _take(self, kind: str, message: bytes) -> None:
        now = time.monotonic()
        is_due = self._paces[kind].is_due(now)
        try:
            if kind == "mask":
                if not is_due:
                    return
                message = packing.packed(message, parse_header(message), self._send.mask_bits)
            else:
                body = parse_json(message)[2]
                if kind == "status":
                    self._live(now, body["state"])
        except MessageError as error:
            self._complain(error)
            return
        # A state that is left out is told a second later at the latest.
        if is_due:
            self._put(kind, message)

    def _complain(self, error: Exception) -> None:
        if self._quiet.may_say():
            log.warning("camera %s: %s%s", self.camera, clean(str(error)), self._quiet.left_out())

    def _live(self, now: float, state: str) -> None:
        self._heard = now
        if state == "stopping":
            self._lost("its daemon stops")
        elif self._token is None:
            self._token = self._session.liveliness().declare_token(self._prefix)
            log.info("camera %s is there", self.camera)

    def _lost(self, why: str) -> None:
        token, self._token = self._token, None
        if token is not None:
            with suppress(Exception):
                token.undeclare()
            if why and self._quiet.may_say():
                log.warning("camera %s is lost: %s%s", self.camera, why, self._quiet.left_out())

    def _tell_presence(self) -> None:
        pace = Pace(1 / self._send.presence_hz)
        while not self._stop.is_set():
            try:
                with MaskSubscriber(self.endpoint, self.camera) as masks:
                    for found in masks.follow(repeat_s=1.0):
                        if self._stop.is_set():
                            return
                        # No data is no presence: nothing is sent, and the status says why.
                        if isinstance(found, NoData) or not pace.is_due(time.monotonic()):
                            continue
                        self._areas.look()
                        self._put("presence", packing.presence(found, self._areas.areas))
            except Exception as error:  # a network that knows no persons, too
                self._complain(error)
                self._stop.wait(ERROR_PAUSE_S)


class Bridge:
    """All cameras of this machine on one session."""

    def __init__(self, session: Any, host: str, config: FleetConfig) -> None:
        self._session, self._host, self._config = session, host, config
        self._cameras: dict[str, Camera] = {}
        self._left_out: set[tuple[str, str]] = set()

    def look(self) -> None:
        """Begin to tell of the cameras that are new.

        A key has one sender: of two sockets with a camera of one name the first that speaks is heard.
        """
        heard_at = {camera.endpoint for camera in self._cameras.values()}
        endpoints = self._config.send.endpoints or endpoints_here()
        for endpoint, cameras in listen(endpoints, known=heard_at).items():
            for camera in cameras:
                known = self._cameras.get(camera)
                if known is not None and (known.endpoint == endpoint or known.speaks):
                    if known.endpoint != endpoint:
                        self._leave_out(endpoint, known)
                    continue
                if known is None and not self._has_room():
                    continue
                if known is not None:
                    known.stop()
                made = Camera(self._session, self._host, endpoint, camera, self._config)
                self._cameras[camera] = made
                made.start()

    def _has_room(self) -> bool:
        """One that has gone makes room; cameras may have been given new names."""
        if len(self._cameras) >= MAX_CAMERAS:
            for camera in [one.camera for one in self._cameras.values() if not one.speaks][:1]:
                self._cameras.pop(camera).stop()
        return len(self._cameras) < MAX_CAMERAS

    def _leave_out(self, endpoint: str, known: Camera) -> None:
        if (endpoint, known.camera) not in self._left_out and len(self._left_out) < MAX_CAMERAS:
            self._left_out.add((endpoint, known.camera))
            log.info(
                "camera %s is told of from %s; %s has the name, too, and is left out: if that is another "
                "camera, give it a name of its own (camera.name)",
                known.camera, clean(known.endpoint), clean(endpoint),
            )  # fmt: skip

    def stop(self) -> None:
        # All at once: the unit waits for a few seconds only.
        for camera in self._cameras.values():
            camera.end()
        for camera in self._cameras.values():
            camera.stop()
