"""One target in a process of its own: ``child.py atheris|random|machine NAME SECONDS SEED FOLDER``.

Writes ``inputs N`` as its last line. A bug ends it with another exit status and a traceback.
"""

from __future__ import annotations

import faulthandler
import random
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "firmware"), str(Path(__file__).parent)]
#: An input that takes longer than this is a hang, in seconds.
HANG_S = 10


def with_atheris(name: str, seconds: float, seed: int, folder: Path) -> None:
    """Guided by coverage; libFuzzer ends the process itself and prints how many runs it did."""
    import atheris  # type: ignore[import-untyped, import-not-found, unused-ignore]

    with atheris.instrument_imports(include=["gnetsegd.link", "gnetsegd.accelerators", "gnetseg_device"]):
        from targets import TARGETS
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, data in enumerate(TARGETS[name].seeds()):
        (corpus / f"seed-{number}").write_bytes(data)
    options = [
        f"-max_total_time={max(int(seconds), 1)}", f"-seed={seed or 1}", f"-timeout={HANG_S}",
        "-max_len=512", "-rss_limit_mb=2048", f"-artifact_prefix={folder}/", "-print_final_stats=1",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], TARGETS[name].run)
    atheris.Fuzz()


def at_random(name: str, seconds: float, seed: int, folder: Path) -> None:
    """Without atheris: the seeds, changed at random."""
    from targets import TARGETS

    target, draw, count = TARGETS[name], random.Random(seed), 0
    seeds = target.seeds()
    now = time.monotonic()
    end = now + seconds
    # The input at work stays in this file, should it be the last one.
    with (folder / "last").open("wb", buffering=0) as last:
        while (before := time.monotonic()) < end:
            faulthandler.dump_traceback_later(HANG_S, exit=True)
            while now - before < 1:
                data = bytearray(draw.choice(seeds))
                for _ in range(draw.randrange(8)):
                    _mutate(data, draw, seeds)
                last.seek(0)
                last.write(data)
                last.truncate()
                target.run(bytes(data))
                count += 1
                now = time.monotonic()
    faulthandler.cancel_dump_traceback_later()
    print(f"inputs {count}")


def _mutate(data: bytearray, draw: random.Random, seeds: list[bytes]) -> None:
    place = draw.randrange(len(data) + 1)
    what = draw.randrange(4)
    if what == 0 and data:
        data[place % len(data)] = draw.randrange(256)
    elif what == 1:
        data[place:place] = draw.randbytes(draw.randrange(1, 40))
    elif what == 2:
        del data[place : place + draw.randrange(1, 40)]
    else:
        data += draw.choice(seeds)


def with_a_machine(name: str, seconds: float, seed: int, folder: Path) -> None:
    """Hypothesis, example after example; ``inputs`` are steps."""
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis import seed as seeded
    from hypothesis.stateful import run_state_machine_as_test
    from machines import MACHINES

    count = 0

    def check_invariants(machine: Any, *arguments: Any, **named: Any) -> None:
        nonlocal count
        count += 1
        MACHINES[name].check_invariants(machine, *arguments, **named)

    # Hypothesis calls this after each step.
    counted = type(name, (MACHINES[name],), {"check_invariants": check_invariants})

    chosen = settings(
        max_examples=10,
        stateful_step_count=40,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    del folder
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        faulthandler.dump_traceback_later(HANG_S * 10, exit=True)
        run_state_machine_as_test(seeded(seed)(counted), settings=chosen)
        seed += 1
    faulthandler.cancel_dump_traceback_later()
    print(f"inputs {count}")


def main() -> None:
    how, name, seconds, seed, folder = sys.argv[1:6]
    run = {"atheris": with_atheris, "random": at_random, "machine": with_a_machine}[how]
    run(name, float(seconds), int(seed), Path(folder))


if __name__ == "__main__":
    main()
