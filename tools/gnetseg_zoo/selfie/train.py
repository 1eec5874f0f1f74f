# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""Train a configuration of ``selfie/configs``: ``python -m gnetseg_zoo.selfie.train NAME.toml``.

Needs torch, OpenCV, and ai-edge-litert to read MediaPipe's file; computes on a GPU where there
is one. The same command goes on where it was stopped; the learning rate follows the clock. A
configuration with
``int8 = true`` trains with the rounding of int8 simulated: its ranges are taken once, from
the photos that the export is calibrated with, and stay; for no minutes it only takes them.
"""

from __future__ import annotations

import argparse
import copy
import csv
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from gnetseg_zoo.datasets.pictures import Pixels
from gnetseg_zoo.errors import ZooError, told
from gnetseg_zoo.judging.photos import TRAIN, VAL, load_photos
from gnetseg_zoo.selfie.graph import cheaper, for_grey, for_yuv, load_weights, read_tflite, save_weights
from gnetseg_zoo.selfie.pictures import Batches, Pictures, in_format
from gnetseg_zoo.selfie.plan import LOG, WEIGHTS, Plan, load_plan
from gnetseg_zoo.selfie.squares import calibration
from gnetseg_zoo.selfie.torch_model import SelfieNet, watch
from gnetseg_zoo.selfie.validation import Validation
from gnetseg_zoo.training.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from gnetseg_zoo.training.loading import load
from gnetseg_zoo.training.machine import Machine, this_machine

CHANGES = {("RGB", "Y"): for_grey, ("RGB", "YUV444"): for_yuv}
"""What makes weights for one input of those for another."""
WARM_UP_STEPS = 100
GRADIENT_NORM = 1.0
JACCARD = 0.25


def tensor(pixels: Pixels, device: torch.device) -> Tensor:
    """[n, channels, s, s], 0 to 1, of bytes [n, s, s, channels]."""
    x = torch.from_numpy(np.ascontiguousarray(pixels)).to(device).permute(0, 3, 1, 2)
    return x.float().div_(255).contiguous(memory_format=torch.channels_last)


def loss_of(scores: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Cross entropy, and a share of the soft Jaccard distance of both classes."""
    held = scores.clamp(-15, 15)
    held = held + (scores - held) * 0.05
    entropy = binary_cross_entropy_with_logits(held, targets, reduction="none")
    out = (entropy * weights).sum() / weights.sum()
    for q, t in ((torch.sigmoid(scores), targets), (torch.sigmoid(-scores), 1 - targets)):
        q, t = q * weights, t * weights
        both = (q * t).sum()
        out = out + JACCARD * (1 - (both + 1) / (q.sum() + t.sum() - both + 1))
    return out


class Training:
    """All that a run consists of, and that a checkpoint holds."""

    def __init__(
        self,
        plan: Plan,
        indices: Sequence[Path],
        teacher: Path,
        source: Path,
        begin: Path | None,
        output: Path,
        machine: Machine,
    ) -> None:
        self.plan, self.output, self.machine = plan, output, machine
        steps, weights = read_tflite(source)
        begun_as = "RGB"
        if begin is not None:
            weights, begun_as = load_weights(begin), plan.begin_input
        if (begun_as, plan.input) in CHANGES:
            weights = CHANGES[begun_as, plan.input](weights)
        torch.manual_seed(plan.seed)
        self.model = SelfieNet(cheaper(steps), weights).to(machine.device)
        photos = load_photos(indices, TRAIN, every_licence=plan.every_licence)
        if plan.int8:
            pictures = calibration(photos, plan.size)
            batches = [self._seen(pictures[i : i + 10]) for i in range(0, len(pictures), 10)]
            self.model.ranges = watch(self.model, batches)
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.optimiser = torch.optim.AdamW(
            [
                {"params": list(self.model.kernels.values()), "weight_decay": 1e-3},
                {"params": list(self.model.biases.values()), "weight_decay": 0.0},
            ],
            lr=1.0,
            betas=(0.9, 0.99),
        )
        self.pictures = Pictures(photos, teacher, plan.kinds, size=max(plan.sizes), seed=plan.seed)
        val = load_photos(indices, VAL, every_licence=plan.every_licence)
        self.validation = Validation(val, plan.size)
        self.step, self.elapsed_s = 0, 0.0
        path = output / CHECKPOINT
        if path.exists():
            self._resume(path)

    def _resume(self, path: Path) -> None:
        state = load_checkpoint(path, self.plan.name)
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.model.ranges = self.average.ranges = state["ranges"]
        self.step, self.elapsed_s = state["step"], state["elapsed_s"]

    def save(self) -> None:
        """Write the checkpoint and the averaged weights."""
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "ranges": self.model.ranges,
            "step": self.step,
            "elapsed_s": self.elapsed_s,
        }
        save_checkpoint(self.output / CHECKPOINT, state, self.plan.name)
        save_weights(self.output / WEIGHTS, self.average.weights(), self.model.ranges)

    def run(self, minutes: float, checkpoint_s: float, workers: int) -> None:
        """Train until ``minutes`` are over, while ``workers`` processes make pictures."""
        print(f"{self.pictures.counts()} from {self.elapsed_s / 60:.1f} minutes on", flush=True)
        self.record(0.0)
        plan = self.plan
        batches = Batches(
            self.pictures, plan.sizes, batch=plan.batch, seed=plan.seed, pixel_format=plan.input
        )
        due, last = self.elapsed_s + checkpoint_s, time.monotonic()
        losses: list[float] = []
        if self.elapsed_s >= minutes * 60:
            return
        for pixels, targets in load(batches, self.step, self.machine, workers):
            if not losses:
                last = time.monotonic()  # the clock does not run while the first pictures are made
            losses.append(self._step(pixels, targets, self.elapsed_s / (minutes * 60)))
            now = time.monotonic()
            self.elapsed_s, last = self.elapsed_s + now - last, now
            if self.elapsed_s >= due:
                self.save()
                self.record(float(np.mean(losses)))
                losses.clear()
                due, last = self.elapsed_s + checkpoint_s, time.monotonic()  # scoring does not count
            if self.elapsed_s >= minutes * 60:
                break
        self.save()
        self.record(float(np.mean(losses)) if losses else 0.0)

    def _seen(self, pixels: Pixels) -> Tensor:
        """What the network is given of RGB bytes [n, s, s, 3]."""
        return tensor(in_format(pixels, self.plan.input), self.machine.device)

    def _step(self, pixels: Tensor, targets: Tensor, share: float) -> float:
        rise = min(1.0, self.step / WARM_UP_STEPS + 0.02)
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.learning_rate * rise * (0.01 + 0.495 * (1 + math.cos(math.pi * share)))
        device = self.machine.device
        x = pixels.to(device).float().div_(255).contiguous(memory_format=torch.channels_last)
        target, weight = targets.to(device).float().div_(255).unbind(1)
        # Half precision would be coarser than the integers that the second stage is about.
        with torch.autocast(device.type, torch.bfloat16, enabled=self.plan.bfloat16 and not self.plan.int8):
            scores = self.model(x)[:, 0].float()
        loss = loss_of(scores, target, weight)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_NORM)
        self.optimiser.step()
        self.step += 1
        decay = min(self.plan.ema_decay, (1 + self.step) / (20 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.model.parameters()), 1 - decay)
        return float(loss.detach())

    def _predict(self, pixels: Pixels) -> npt.NDArray[np.bool_]:
        with torch.no_grad():
            found: npt.NDArray[np.bool_] = (self.average(self._seen(pixels))[:, 0] > 0).cpu().numpy()
        return found

    def record(self, loss: float) -> None:
        """Score the averaged weights on the clean val photos and add a line to the log."""
        line = {
            "minutes": f"{self.elapsed_s / 60:.1f}",
            "step": str(self.step),
            "loss": f"{loss:.4f}",
            **{k: f"{v:.4f}" for k, v in self.validation.scores(self._predict).items()},
        }
        path = self.output / LOG
        begun = path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(line))
            if not begun:
                writer.writeheader()
            writer.writerow(line)
        print("  ".join(f"{k} {v}" for k, v in line.items()), flush=True)


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    parser = argparse.ArgumentParser(prog="python -m gnetseg_zoo.selfie.train", description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", required=True, help="index.csv of the photos, several parted by commas")
    parser.add_argument("--teacher", type=Path, required=True, help="folder of the masks that teach wrote")
    parser.add_argument("--source", type=Path, required=True, help="MediaPipe's selfie_segmentation.tflite")
    parser.add_argument("--begin", type=Path, help="weights.npz to begin with, in place of its run's")
    parser.add_argument("--output", type=Path, help="folder of checkpoint and log (build/train/NAME)")
    parser.add_argument("--minutes", type=float, help="time to train, in place of the configuration's")
    parser.add_argument("--checkpoint-s", type=float, default=240.0, help="seconds between checkpoints")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto (a GPU where there is one)")
    parser.add_argument("--workers", type=int, default=0, help="processes that make pictures (0: all of use)")
    parser.add_argument("--batch", type=int, help="pictures a step, in place of the configuration's")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    output = given.output or Path("build/train") / given.config.stem
    try:
        plan = load_plan(given.config)
        output.mkdir(parents=True, exist_ok=True)
        indices = [Path(p) for p in given.data.split(",")]
        begin = given.begin
        if begin is None and plan.begin:
            begin = output.parent / plan.begin / WEIGHTS
        if given.batch:
            plan = replace(plan, batch=given.batch)
        machine = this_machine(given.device)
        training = Training(plan, indices, given.teacher, given.source, begin, output, machine)
        minutes = plan.minutes if given.minutes is None else given.minutes
        training.run(minutes, given.checkpoint_s, given.workers)
    except ZooError as error:
        return told(error)
    except OSError as error:
        print(f"error: {error.filename or output}: {error.strerror or error}", file=sys.stderr)
        return os.EX_IOERR
    except KeyboardInterrupt:
        print(f"stopped; the same command goes on from the last checkpoint in {output}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
