"""Measures a few steps of a run's own trainings, in a process of its own.

    python -m headstart.project.measuring

reads what to measure from its input, as JSON, and prints what it found. The networks are the real
ones, at their real sizes; images and labels are made up, since no time depends on them.
"""

import contextlib
import gc
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.core import runtime
from headstart.core.errors import UserError, located
from headstart.core.parts import Part
from headstart.judging.cost import Work
from headstart.learning.calls import Call
from headstart.params import reading
from headstart.params.networks import output_activation, output_units
from headstart.params.sections import Params, TrainingSettings
from headstart.params.strategies import ARMS, BASELINE, HEAD_ALONE, Phase, Strategy
from headstart.project import timing
from headstart.project.timing import Asked, Found, Measured, PhaseTime, frozen_share

if TYPE_CHECKING:
    import keras

    from headstart.learning.fit import OnEpoch

# Operations of what is measured at a time: about a second at the least that two cores reach.
_OPERATIONS = 1e10
_EPOCHS = 3
_MOST_IMAGES, _FEWEST_IMAGES = 2048, 2
# So many steps at least where few images can pass frozen layers: an epoch has a cost of its own.
_STEPS_ON_FEATURES = 8
# A step of fewer operations takes what starting its kernels takes, whatever the batch.
_SMALL_STEP = 1e8
# Features of networks from elsewhere are computed by 64, the last ones filled up.
_FORWARD_BATCH = 64
# The least of several counts, and of quick ones more: something else may run for a moment.
_FORWARD_PASSES, _QUICK_PASSES, _QUICK = 3, 20, 0.02
# Weights move as always, but no made-up label can make the loss infinite.
_LEARNING_RATE = 1e-7
# Linux alone tells a process its largest size, and forgets it when told to.
_STATUS, _FORGET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def _measured(asked: Asked) -> Found:
    settings = reading.load(asked.root / "params.yaml")
    runtime.fix(settings.seed)
    # What the stages import, and what a start takes.
    from headstart.learning import pretrained
    from headstart.transfer import graft  # noqa: F401

    clock = _Clock(settings, asked, base=_memory())
    start = time.process_time()
    chosen, warning = settings.source_training, None
    before = _memory()
    if chosen.from_ is not None:
        build, adopted = _timed(
            lambda: pretrained.adopt_as(
                chosen, root=asked.root, image_shape=asked.shape, untrained=asked.untrained
            )
        )
        backbone = adopted.backbone
        source = clock.forward(backbone, build, before)
        if asked.first and not asked.untrained:
            warning = pretrained.features_warning(backbone, np.load(asked.first))
        transfer = clock.transfer(source, backbone)
    else:
        source = clock.new("source")
        transfer = clock.transfer(source, None)
    networks = {"source": source, "transfer": transfer, "baseline": clock.new("baseline")}
    return Found(start, clock.base, networks, warning and f"{chosen.from_}: {warning}")


# Trains on images, validates on others; returns the network.
Trains = Callable[[Part, Part, TrainingSettings, Strategy, "OnEpoch"], "keras.Model"]


@dataclass(frozen=True)
class _Clock:
    """Measures the networks of a project; `base` are the bytes of the process before them."""

    settings: Params
    asked: Asked
    base: int | None

    def new(self, name: str) -> Measured:
        """Measures a network that is trained from scratch: source or baseline."""
        from headstart.learning import fit, networks

        task = "source" if name == "source" else "target"
        classes = self.asked.classes[task]
        wanted = self.settings.train_b.output_activation if name == BASELINE else "auto"
        ends: dict[str, Any] = {
            "units": output_units(classes),
            "activation": output_activation(classes, wanted),
        }

        def train(
            train: Part, valid: Part, training: TrainingSettings, _: Strategy, on_epoch: "OnEpoch"
        ) -> "keras.Model":
            return fit.train_new(
                train,
                valid,
                network=self.settings.network,
                settings=training,
                seed=self.settings.seed,
                task=task,
                on_epoch=on_epoch,
                **ends,
            )[0]

        before = _memory()
        build, model = _timed(
            lambda: networks.build(self.asked.shape, self.settings.network, **ends)
        )
        found = self.forward(model, build, before)
        return self._trained(name, ARMS[BASELINE], found, train, before)

    def transfer(self, source: Measured, backbone: "keras.Model | None") -> Measured:
        """Measures the transfer: of `backbone`, or of a source network as it is trained here."""
        import keras

        from headstart.learning import networks
        from headstart.transfer import graft

        settings, taught = self.settings, self.asked.classes["source"]
        classes = self.asked.classes["target"]
        units, activation = output_units(classes), output_activation(classes)
        # Of a network from elsewhere the head alone is as quick on features of anything.
        stand_in = None
        if backbone is None:
            whole: keras.Model = networks.build(
                self.asked.shape,
                settings.network,
                units=output_units(taught),
                activation=output_activation(taught),
            )
        else:
            whole = backbone
            image = keras.Input(self.asked.shape, name="image")
            one = keras.layers.Reshape((math.prod(self.asked.shape), 1), name="pixels")(image)
            one = keras.layers.GlobalAveragePooling1D(name="mean")(one)
            width = backbone.output_shape[-1]
            features = keras.layers.Dense(width, name="features")(one)
            stand_in = keras.Model(image, features, name="backbone")

        def train(
            train: Part,
            valid: Part,
            training: TrainingSettings,
            strategy: Strategy,
            on_epoch: "OnEpoch",
        ) -> "keras.Model":
            from_ = stand_in if stand_in and strategy.trains == (HEAD_ALONE,) else whole
            return graft.train_grafted(
                train,
                valid,
                source=from_ if strategy.from_source or stand_in else None,
                network=None if stand_in else settings.network,
                units=units,
                activation=activation,
                settings=training,
                strategy=strategy,
                frozen_fraction=settings.transfer.frozen_fraction,
                unfrozen_learning_rate=_LEARNING_RATE,
                seed=settings.seed,
                on_epoch=on_epoch,
                inference=settings.transfer.inference,
            )[0]

        before = _memory()
        found = source
        if backbone is None:
            model = networks.build(
                self.asked.shape, settings.network, units=units, activation=activation
            )
            found = self.forward(model, source.build, before)
        else:
            top = max((call.layer for call in source.calls), default=-1)
            head = Call(top + 1, top, 2 * backbone.output_shape[-1] * units)
            count = (backbone.output_shape[-1] + 1) * units
            found = replace(
                source,
                calls=(*source.calls, head),
                parameters=(count, source.parameters[1] + count),
            )
        return self._trained(
            "transfer", settings.transfer.strategy, found, train, before, adopted=bool(stand_in)
        )

    def forward(self, model: "keras.Model", build: float, before: int | None) -> Measured:
        """Measures forward passes of `model`, and nothing of its training."""
        from headstart.learning import flops, networks

        calls = flops.calls(model)
        whole = max(sum(call.flops or 0 for call in calls), 1)
        most = int(min(_FORWARD_BATCH, max(_OPERATIONS / whole, _FEWEST_IMAGES)))
        images = np.full((most, *self.asked.shape), 0.5, np.float32)
        passes = [_timed(lambda: model.predict_on_batch(images))[0] for _ in range(_FORWARD_PASSES)]
        batch = min(passes[1:])
        return Measured(
            calls=calls,
            parameters=networks.parameters(model),
            build=build,
            trace=max(passes[0] - batch, 0.0),
            forward=batch / most,
            phases=(),
            memory=self._grown(before, _FORWARD_BATCH / most),
        )

    def _trained(
        self,
        name: str,
        strategy: Strategy,
        found: Measured,
        train: Trains,
        before: int | None,
        *,
        adopted: bool = False,
    ) -> Measured:
        """Returns `found` with the phases of its training, each measured by itself."""
        import keras

        from headstart.learning import networks

        training = self.settings.trainings[name]
        task = "source" if name == "source" else "target"
        whole = min(training.batch_size, max(self.asked.images[task], 1))
        operations = max(sum(call.flops or 0 for call in found.calls), 1)
        phases, parameters, memory = [], found.parameters, found.memory
        for layers in strategy.trains:
            alone = layers == HEAD_ALONE
            stands_in = adopted and alone
            dearest = 1 if stands_in else operations * (1 if alone else 3)
            batch, steps = _sample(whole, dearest, frozen=alone)
            labels = np.arange(batch * steps) % max(self.asked.classes[task], 2)
            shown = Part(np.full((batch * steps, *self.asked.shape), 0.5, np.float32), labels)
            ends = [time.perf_counter()]
            model = train(
                shown,
                Part(shown.images[:1], labels[:1]),
                training.model_copy(
                    update={
                        "epochs": _EPOCHS if steps == 1 else 2 * _EPOCHS,
                        "batch_size": batch,
                        "learning_rate": _LEARNING_RATE,
                    }
                ),
                replace(strategy, trains=(layers,)),
                _noting(ends),
            )
            if not stands_in:
                parameters = networks.parameters(model)
                grown = self._grown(before, whole / batch)
                memory = None if memory is None or grown is None else max(memory, grown)
            first, *others = np.diff(ends).tolist()
            setup, step = first - min(others), min(others) / steps
            work = Work(found.calls, (Phase(1, layers),), images=1, batch_size=1)
            ((_, trains, frozen),) = work.passes()
            if batch * trains >= _SMALL_STEP:
                step *= whole / batch
            # What stands in has nothing below the head to build and trace: `estimate` adds it.
            if not stands_in:
                seen = 2 * _FORWARD_BATCH if adopted else batch * steps
                setup -= seen * found.forward * frozen_share(found.calls, work.phases[0], frozen)
            phases.append(PhaseTime(max(setup, 0.0), step))
            del model
        gc.collect()
        keras.utils.clear_session()
        return replace(found, phases=tuple(phases), parameters=parameters, memory=memory)

    def _grown(self, before: int | None, times: float) -> int | None:
        """Returns what the process grew by, were batches so many times those measured."""
        peak = _memory(peak=True)
        if peak is None or before is None or self.base is None:
            return None
        return round(max(before - self.base, 0) + max(peak - before, 0) * times)


def _sample(batch: int, operations: int, *, frozen: bool) -> tuple[int, int]:
    """Returns the batch and the steps to measure, where an image takes so many operations."""
    images = int(min(max(_OPERATIONS / operations, _FEWEST_IMAGES), _MOST_IMAGES))
    if frozen:
        batch = min(batch, max(images // _STEPS_ON_FEATURES, 1))
    batch = min(batch, images)
    return batch, images // batch


def _noting(ends: list[float]) -> "OnEpoch":
    return lambda _: ends.append(time.perf_counter())


def _timed(function: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    made = function()
    return time.perf_counter() - began, made


def _memory(*, peak: bool = False) -> int | None:
    """Returns the bytes that this process has in memory, or had at most since it was last asked."""
    if not _STATUS.is_file():
        return None
    key = "VmHWM:" if peak else "VmRSS:"
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    (size,) = [int(line.split()[1]) * 1024 for line in lines if line.startswith(key)]
    with contextlib.suppress(OSError):
        _FORGET.write_text("5", encoding="ascii")
    return size


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps what trainings print off the output, which is for what was found."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def main() -> None:
    """Measures what the input asks for."""
    asked = timing.ASKED.validate_json(sys.stdin.buffer.read())
    try:
        with _quiet(), located("params.yaml: "):
            found = _measured(asked)
    except UserError as error:
        found = Found(problem=str(error))
    sys.stdout.write(timing.FOUND.dump_json(found).decode())


if __name__ == "__main__":
    main()
