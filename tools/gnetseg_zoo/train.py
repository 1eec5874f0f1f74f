# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""Train one configuration: ``python -m gnetseg_zoo.train configs/NAME.toml --data index.csv``.

Needs torch and OpenCV. The same command goes on where it was stopped. The learning
rate follows the clock, not a count of steps, so that it ends in time on any machine.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor
from torch.utils.data import DataLoader

from gnetseg_zoo.batches import Batches
from gnetseg_zoo.cache import open_cache
from gnetseg_zoo.checkpoint import CHECKPOINT, CheckpointError, fingerprint, load_checkpoint, save_checkpoint
from gnetseg_zoo.config import Config, ConfigError, Stage, load_config
from gnetseg_zoo.losses import integer_loss
from gnetseg_zoo.networks import NetworkError
from gnetseg_zoo.pictures import hard_mask, network_input, open_pair
from gnetseg_zoo.samples import DataError, load_index
from gnetseg_zoo.scores import Scoreboard
from gnetseg_zoo.torch_model import GnetSeg

LOG = "log.csv"
LOG_COLUMNS = (
    "minutes",
    "step",
    "images",
    "size",
    "learning_rate",
    "loss",
    "images_per_s",
    "portrait",
    "fullbody",
    "persons",
    "false_person",
)
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

    def __init__(self, config: Config, output: Path, index: Path, minutes: float) -> None:
        self.config, self.output, self.minutes = config, output, minutes
        network = config.build_network()
        if network.encoding != "integer":
            raise ConfigError(f"{config.name}: this program trains the integer encoding only so far")
        self.print = fingerprint(network)
        torch.manual_seed(config.seed)
        self.model = GnetSeg(network).to(memory_format=torch.channels_last)
        self.average = GnetSeg(network).to(memory_format=torch.channels_last)
        self.average.load_state_dict(self.model.state_dict())
        self.optimiser = torch.optim.AdamW(_groups(self.model, config.training.weight_decay), lr=1.0)
        self.samples = load_index(index, "train")
        self.cache = open_cache(output.parent / "cache", self.samples, network.input_format)
        self.validation = _validation(index, config)
        self.step, self.images, self.elapsed_s, self.loss = 0, 0, 0.0, float("nan")

    def resume(self) -> bool:
        """Go on from the checkpoint in the output folder, if there is one."""
        path = self.output / CHECKPOINT
        if not path.exists():
            return False
        state = load_checkpoint(path, self.print)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.images, self.elapsed_s = state["step"], state["images"], state["elapsed_s"]
        return True

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
        }
        save_checkpoint(self.output / CHECKPOINT, state, self.print)

    @property
    def share(self) -> float:
        """Share (0..1) of the minutes that are over."""
        return self.elapsed_s / (self.minutes * 60)

    def run(self, checkpoint_s: float, console: Console) -> None:
        """Train until the minutes are over."""
        for stage in self.config.training.stages:
            if self.share < stage.until:
                self._stage(stage, checkpoint_s, console)
        self._record(self.config.training.stages[-1].size, 0.0)
        self.save()

    def _stage(self, stage: Stage, checkpoint_s: float, console: Console) -> None:
        training, size = self.config.training, stage.size
        batches = Batches(
            self.cache,
            self.samples,
            self.config.sources,
            self.config.augmentation.scaled(stage.strength),
            batch=training.batch,
            size=size,
            seed=self.config.seed,
        )
        self.model.train()
        last, due, images_then, losses = time.monotonic(), self.elapsed_s + checkpoint_s, self.images, []
        began_s = self.elapsed_s
        with Progress(console=console, disable=not console.is_terminal) as progress:
            bar = progress.add_task(f"{size}x{size}", total=1.0)
            for pixels, targets in _load(batches, self.step):
                losses.append(self._step(pixels, targets))
                now = time.monotonic()
                self.elapsed_s, last = self.elapsed_s + now - last, now
                progress.update(bar, completed=self.share)
                if self.share >= stage.until:
                    break
                if self.elapsed_s >= due:
                    self.loss = float(np.mean(losses))
                    self._record(size, (self.images - images_then) / (self.elapsed_s - began_s))
                    self.save()
                    losses, images_then, began_s = [], self.images, self.elapsed_s
                    due = self.elapsed_s + checkpoint_s
                    last = time.monotonic()  # the clock stands still while scores are taken

    def _step(self, pixels: Tensor, targets: Tensor) -> float:
        training = self.config.training
        x = pixels.float().contiguous(memory_format=torch.channels_last)
        label = targets.float() * (1 / 255)
        rate = learning_rate(self.share, training.learning_rate)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        error = integer_loss(self.model(x), label, len(self.config.network.classes))
        empty = targets.amax(dim=(1, 2, 3)) == 0
        loss = (error * torch.where(empty, training.empty_weight, 1.0)).mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM)
        self.optimiser.step()
        self.step += 1
        self.images += len(pixels)
        decay = min(training.ema_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            pairs = zip(self.average.state_dict().values(), self.model.state_dict().values(), strict=True)
            for mine, theirs in pairs:
                if mine.is_floating_point():
                    mine.lerp_(theirs, 1 - decay)
                else:
                    mine.copy_(theirs)
        return float(loss.detach())

    def _record(self, size: int, images_per_s: float) -> None:
        """Score the averaged weights on the validation split and add a line to the log."""
        self.average.eval()
        board = Scoreboard()
        with torch.no_grad():
            for domain, pixels, truth in self.validation:
                raw = self.average(torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32)))
                board.add(domain, (raw[0, 0] >= 0.5).numpy(), truth)
        scores = {name: f"{c.miou:.4f}" for name, c in board.domains.items()}
        line = {
            "minutes": f"{self.elapsed_s / 60:.1f}",
            "step": self.step,
            "images": self.images,
            "size": size,
            "learning_rate": f"{learning_rate(self.share, self.config.training.learning_rate):.2e}",
            "loss": f"{self.loss:.4f}",
            "images_per_s": f"{images_per_s:.0f}",
            "portrait": scores.get("portrait", ""),
            "fullbody": scores.get("fullbody", ""),
            "persons": f"{board.persons.miou:.4f}",
            "false_person": f"{board.false_person:.4f}" if board.false_person is not None else "",
        }
        path = self.output / LOG
        begun = path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, LOG_COLUMNS)
            if not begun:
                writer.writeheader()
            writer.writerow(line)
        print("  ".join(f"{k} {v}" for k, v in line.items()), flush=True)


def _groups(model: GnetSeg, weight_decay: float) -> list[dict[str, Any]]:
    """Kernels decay, biases and normalisation do not."""
    kernels = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": kernels, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _load(batches: Batches, first_step: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches from ``first_step`` on, made by one process beside the training."""
    steps = range(first_step, first_step + 10**7)
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=steps,
        num_workers=1,
        multiprocessing_context="spawn",  # a fork would inherit locks of this process's threads
        prefetch_factor=6,
        worker_init_fn=_one_thread,
    )
    try:
        yield from loader
    except RuntimeError as error:
        raise CheckpointError(
            f"the process that makes the pictures ended ({error}); the last checkpoint is intact, "
            f"start the same command again"
        ) from error


def _one_thread(_worker: int) -> None:
    cv2.setNumThreads(1)  # the other threads are the convolutions'


def _validation(index: Path, config: Config) -> list[tuple[str, Any, Any]]:
    """(domain, uint8 [s, s, channels], bool [s, s]) of every photo of the validation split."""
    out = []
    for sample in load_index(index, "val"):
        photo, mask = open_pair(sample, config.network.input_format)
        size = config.network.size
        out.append((sample.domain, network_input(photo, size), hard_mask(mask, size)))
    return out


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m gnetseg_zoo.train", description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="index.csv of the photos")
    parser.add_argument("--output", type=Path, help="folder of checkpoint and log (build/train/NAME)")
    parser.add_argument("--minutes", type=float, help="time to train, in place of the configuration's")
    parser.add_argument("--checkpoint-s", type=float, default=240.0, help="seconds between checkpoints")
    parser.add_argument("--threads", type=int, default=0, help="processor threads (0: as PyTorch likes)")
    given = parser.parse_args(arguments)
    output = given.output or Path("build/train") / given.config.stem
    try:
        config = load_config(given.config)
        output.mkdir(parents=True, exist_ok=True)
        if given.threads:
            torch.set_num_threads(given.threads)
        training = Training(config, output, given.data, given.minutes or config.training.minutes)
        if training.resume():
            print(f"going on at {training.elapsed_s / 60:.1f} minutes, step {training.step}", flush=True)
        training.run(given.checkpoint_s, Console())
    except (ConfigError, NetworkError, DataError, CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return os.EX_DATAERR
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
