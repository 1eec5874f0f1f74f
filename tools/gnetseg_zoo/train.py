# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""Train one configuration: ``python -m gnetseg_zoo.train configs/NAME.toml --data DATA``.

Needs torch and OpenCV. The same command goes on where it was stopped. The learning
rate follows the clock, not a count of steps, so that it ends in time on any machine.
Computes on a GPU where there is one; on several through
``torchrun --nproc-per-node N -m gnetseg_zoo.train ...``.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from gnetseg_zoo.config import Config, ConfigError, Stage, load_config
from gnetseg_zoo.describe import CONFIGS
from gnetseg_zoo.errors import ZooError, told
from gnetseg_zoo.training.checkpoint import (
    CHECKPOINT,
    CheckpointError,
    fingerprint,
    load_checkpoint,
    save_checkpoint,
)
from gnetseg_zoo.training.loading import load
from gnetseg_zoo.training.log import LOG, RUN_COLUMNS
from gnetseg_zoo.training.machine import Machine, this_machine
from gnetseg_zoo.training.tasks import Task, open_task
from gnetseg_zoo.training.torch_model import GnetSeg
from gnetsegd.errors import ModelError
from gnetsegd.model import load_bundle

WARM_UP = 0.02
"""Share of the minutes in which the learning rate rises."""
GRADIENT_NORM = 1.0


def learning_rate(share: float, peak: float) -> float:
    """One cycle: a linear rise, then half a cosine down to a thousandth; ``share`` (0..1) of the time."""
    if share < WARM_UP:
        return peak * (0.05 + 0.95 * share / WARM_UP)
    fall = min(1.0, (share - WARM_UP) / (1 - WARM_UP))
    return peak * max(1e-3, 0.5 * (1 + math.cos(math.pi * fall)))


class Training:
    """All that a run consists of, and that a checkpoint holds."""

    def __init__(
        self, config: Config, task: Task, machine: Machine, output: Path, minutes: float, workers: int = 0
    ) -> None:
        self.config, self.task, self.machine, self.workers = config, task, machine, workers
        self.output, self.minutes = output, minutes
        network = config.build_network()
        self.print = fingerprint(network)
        torch.manual_seed(config.seed)
        self.model = GnetSeg(network).to(machine.device, memory_format=torch.channels_last)
        self.average = GnetSeg(network).to(machine.device, memory_format=torch.channels_last)
        self.optimiser = torch.optim.AdamW(_groups(self.model, config.training.weight_decay), lr=1.0)
        self.step, self.images, self.elapsed_s, self.loss = 0, 0, 0.0, float("nan")
        self.begun_from: dict[str, str] = {}

    def begin(self) -> str:
        """Go on from the checkpoint in the output folder, or begin; gives a sentence on which."""
        path = self.output / CHECKPOINT
        if path.exists():
            self._resume(path)
            said = f"going on at {self.elapsed_s / 60:.1f} minutes, step {self.step}"
        else:
            said = self._warm_start() if self.config.training.begin_from else "beginning at random"
            self.average.load_state_dict(self.model.state_dict())
        self.joined = self.machine.joined(self.model)
        return said

    def _resume(self, path: Path) -> None:
        state = load_checkpoint(path, self.print)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.images, self.elapsed_s = state["step"], state["images"], state["elapsed_s"]
        self.begun_from = state.get("begin_from", {})
        if state["name"] != self.config.name:
            raise CheckpointError(
                f"{path}: is of the configuration {state['name']}, not of {self.config.name}; name another "
                "--output or remove it"
            )

    def _warm_start(self) -> str:
        from gnetseg_zoo.training.warm_start import begin_from, bundle_convolutions  # needs ai-edge-litert

        name = self.config.training.begin_from
        source = load_config(CONFIGS / f"{name}.toml").build_network(self.config.training.begin_as)
        pixels, _ = self.task.batches(self.config.training.stages[-1])[0]
        x = torch.from_numpy(pixels).float().to(self.machine.device)
        bundle = load_bundle(name)
        self.begun_from = {"name": name, "sha256": bundle.sha256.hex()}
        taken = begin_from(self.model, source, bundle_convolutions(bundle.content), x)
        return (
            f"{taken} of {len(self.model.convs)} convolutions begin as {name} has them, the others at random"
        )

    def save(self) -> None:
        """Write the checkpoint; raises CheckpointError, the former one then is intact."""
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "images": self.images,
            "elapsed_s": self.elapsed_s,
            "seed": self.config.seed,
            "name": self.config.name,
            "distillation": self.config.training.distillation,
        }
        if self.begun_from:
            state["begin_from"] = self.begun_from
        save_checkpoint(self.output / CHECKPOINT, state, self.print)

    @property
    def share(self) -> float:
        """Share (0..1) of the minutes that are over."""
        return self.elapsed_s / (self.minutes * 60)

    def run(self, checkpoint_s: float, console: Console) -> None:
        """Train until the minutes are over; nothing if they are."""
        if self.share >= 1:
            return
        for stage in self.config.training.stages:
            if self.share < stage.until:
                self._stage(stage, checkpoint_s, console)

    def _stage(self, stage: Stage, checkpoint_s: float, console: Console) -> None:
        self.model.train()
        last, due, images_then = time.monotonic(), self.elapsed_s + checkpoint_s, self.images
        losses: list[float] = []
        began_s = self.elapsed_s
        with Progress(console=console, disable=not (console.is_terminal and self.machine.leads)) as progress:
            bar = progress.add_task(f"{stage.size}x{stage.size}", total=1.0)
            for pixels, targets in load(self.task.batches(stage), self.step, self.machine, self.workers):
                if not losses:
                    last = time.monotonic()  # nor does the clock run while the first pictures are made
                losses.append(self._step(pixels, targets))
                now = time.monotonic()
                self.elapsed_s, last = self.machine.agreed(self.elapsed_s + now - last), now
                progress.update(bar, completed=self.share)
                if self.share >= stage.until:
                    break
                if self.elapsed_s >= due:
                    self.loss = float(np.mean(losses))
                    self._keep(stage.size, (self.images - images_then) / (self.elapsed_s - began_s))
                    losses.clear()
                    images_then, began_s = self.images, self.elapsed_s
                    due = self.elapsed_s + checkpoint_s
                    last = time.monotonic()  # the clock stands still while scores are taken
        if losses:
            self.loss = float(np.mean(losses))
            self._keep(stage.size, (self.images - images_then) / (self.elapsed_s - began_s))

    def _step(self, pixels: Tensor, targets: Tensor) -> float:
        training, device = self.config.training, self.machine.device
        x = pixels.to(device).float().contiguous(memory_format=torch.channels_last)
        rate = learning_rate(self.share, training.learning_rate)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        with self.machine.autocast():
            raw = self.joined(x)
        loss = self.task.loss(raw.float(), targets.to(device)).mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM)
        self.optimiser.step()
        self.step += 1
        self.images += len(pixels) * self.machine.ranks
        decay = min(training.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            pairs = zip(self.average.state_dict().values(), self.model.state_dict().values(), strict=True)
            for mine, theirs in pairs:
                if mine.is_floating_point():
                    mine.lerp_(theirs, 1 - decay)
                else:
                    mine.copy_(theirs)
        return float(loss.detach())

    def _keep(self, size: int, images_per_s: float) -> None:
        """The checkpoint, and a line of scores in the log: the first process's work."""
        if self.machine.leads:
            self.save()
            self._record(size, images_per_s)
        self.machine.wait()

    def _record(self, size: int, images_per_s: float) -> None:
        """Score the averaged weights on the validation split and add a line to the log."""
        self.average.eval()
        line = {
            "minutes": f"{self.elapsed_s / 60:.1f}",
            "step": str(self.step),
            "images": str(self.images),
            "size": str(size),
            "learning_rate": f"{learning_rate(self.share, self.config.training.learning_rate):.2e}",
            "loss": f"{self.loss:.4f}",
            "images_per_s": f"{images_per_s:.0f}",
            **dict.fromkeys(self.task.columns, ""),
            **self.task.scores(self.average, self.machine.device),
        }
        path = self.output / LOG
        begun = path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, (*RUN_COLUMNS, *self.task.columns))
            if not begun:
                writer.writeheader()
            writer.writerow(line)
        print("  ".join(f"{k} {v}" for k, v in line.items()), flush=True)


def _groups(model: GnetSeg, weight_decay: float) -> list[dict[str, Any]]:
    """Kernels decay, biases and normalisation do not."""
    kernels = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": kernels, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m gnetseg_zoo.train", description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument(
        "--data", required=True, help="index.csv (several parted by commas), or a data set's folder"
    )
    parser.add_argument("--output", type=Path, help="folder of checkpoint and log (build/train/NAME)")
    parser.add_argument("--cache", type=Path, help="folder of shrunken photos (cache, beside OUTPUT)")
    parser.add_argument("--teacher", type=Path, help="folder of a teacher's masks, for distillation")
    parser.add_argument("--minutes", type=float, help="time to train, in place of the configuration's")
    parser.add_argument("--checkpoint-s", type=float, default=240.0, help="seconds between checkpoints")
    parser.add_argument("--threads", type=int, default=0, help="processor threads (0: as PyTorch likes)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto (a GPU where there is one)")
    parser.add_argument("--workers", type=int, default=0, help="processes that make pictures (0: all of use)")
    parser.add_argument("--bfloat16", action="store_true", help="twice as fast where the processor knows it")
    given = parser.parse_args(arguments)
    output = given.output or Path("build/train") / given.config.stem
    try:
        config = load_config(given.config)
        output.mkdir(parents=True, exist_ok=True)
        if given.threads > 0:
            torch.set_num_threads(given.threads)
        machine = this_machine(given.device, bfloat16=given.bfloat16)
        cache = given.cache or output.parent / "cache"
        task = machine.in_turn(lambda: open_task(config, given.data, cache, given.teacher))
        minutes = config.training.minutes if given.minutes is None else given.minutes
        if minutes <= 0:
            raise ConfigError(f"--minutes is {minutes:g}; give more than 0")
        training = Training(config, task, machine, output, minutes, given.workers)
        said = training.begin()
        if machine.leads:
            print(said, flush=True)
        training.run(given.checkpoint_s, Console())
        machine.leave()
    except (ModelError, ZooError) as error:
        return told(error)
    except OSError as error:
        print(
            f"error: {error.filename or output}: {error.strerror or error}; a checkpoint that was written "
            f"before is intact, put this right and start the same command again",
            file=sys.stderr,
        )
        return os.EX_IOERR
    except KeyboardInterrupt:
        print(f"stopped; the same command goes on from the last checkpoint in {output}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
