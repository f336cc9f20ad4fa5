"""The same groups on a Ray cluster: this machine, or the one that RAY_ADDRESS names.

The data goes to each machine once. Workers only compute: results come back to the driver, which
alone writes files and talks to MLflow. A group whose worker dies is sent to another one; what
it computes does not depend on where it runs, so that the bytes are those of the local engine.
"""

import atexit
import functools
import os
import platform
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.core import runtime
from headstart.core.errors import UserError
from headstart.study import plan, sources, store
from headstart.study.prepare import Prepared

if TYPE_CHECKING:
    from headstart.study.benches import Bench
    from headstart.study.cells import Weights
    from headstart.study.run import Arrays, Runner

# A group is given up after so many workers died over it.
_RETRIES = 5
_SECONDS_TO_ANSWER = 10


@dataclass(frozen=True)
class Study:
    """What every worker needs: the grid, its data, and what the driver computes with.

    `name` tells it from other studies, `code` hashes the driver's numeric code; `networks` are
    the files of networks from elsewhere, by their place in the project.
    """

    name: str
    prepared: Prepared
    code: Mapping[str, str]
    libraries: Mapping[str, str]
    networks: Mapping[str, bytes]


def connect() -> Any:
    """Returns Ray, connected to RAY_ADDRESS, else to a cluster started here for this process.

    Raises:
        UserError: Ray is not installed, or the cluster does not answer.
    """
    # Both are read at the import. Ray reports its use to its makers unless told otherwise.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = os.environ.get("RAY_ADDRESS")
    if address:
        _check_answers(address)
    else:
        # Named after the systems where it is the default: all servers stay on loopback.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "study/params.yaml: engine: ray needs Ray, and it is not installed; install "
            "headstart[ray], or write engine: local, which trains the same groups here"
        ) from error
    if ray.is_initialized():
        return ray
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if not address:
        # A cluster that somebody else started on this machine is not ours to use.
        quiet |= {"address": "local", "include_dashboard": False}
    try:
        ray.init(**quiet)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        # A cluster that asks for a token gives no other sign to who has none.
        hint = (
            "; `ray start` guards a cluster with the token in ~/.ray/auth_token: have it there "
            "on this machine too, and set RAY_AUTH_MODE=token"
        )
        raise UserError(f"Ray does not start: {error}{hint if address else ''}") from error
    return ray


def outcomes(
    runner: "Runner", works: Sequence[plan.Work]
) -> "Iterator[tuple[plan.Work, Arrays | Exception]]":
    """Trains groups on the cluster and gives each with its arrays, or why it failed, as it ends.

    A group waits for the source networks among `works` that it starts from; the runner has kept
    them when it asks for more.
    """
    if not works:
        return
    ray = connect()
    replicas = runner.prepared.replicas
    asked: dict[str, Any] = {"num_cpus": replicas.threads, "max_retries": _RETRIES}
    remote = ray.remote(**asked)
    train_group, train_sources = remote(_train_group), remote(_train_sources)
    # A GPU is a worker's alone, whose process ends with the group and frees its memory.
    train_on_gpu = ray.remote(**asked, num_gpus=1, max_calls=1)(_train_on_gpu)
    by_fit = any(isinstance(work, sources.ByFit) for work in works)
    gpus = int(ray.cluster_resources().get("GPU", 0)) if by_fit else 0
    _check_room(ray.nodes(), threads=replicas.threads, on_gpu=gpus > 0)
    if gpus:
        runner.say(f"networks that train by fit: one a GPU, of which the cluster has {gpus}")
    # The machine's own memory holds it for all of its workers.
    study = ray.put(
        Study(
            name=runner.store.key({"grid": runner.prepared.grid}),
            prepared=runner.prepared,
            code=runner.store.common["code"] | sources.acting(),
            libraries=runner.store.common["libraries"],
            networks={
                file.relative_to(runner.root).as_posix(): file.read_bytes()
                for file in (
                    sources.path(one, runner.root) for one in runner.prepared.grid.elsewhere
                )
            },
        )
    )
    running: dict[Any, plan.Work] = {}
    given: dict[plan.SourceGroup | None, Any] = {}
    machines = {runner.store.common["machine"]}
    awaited = {
        key for work in works if isinstance(work, plan.SourceGroup) for key in runner.keys(work)
    }
    waiting = [(work, set(_needs(runner, work))) for work in works]

    def begin(work: plan.Work) -> None:
        if isinstance(work, plan.SourceGroup):
            running[train_sources.remote(study, work)] = work
            return
        source = work.source if work.strategy.from_source else None
        if source and source not in given:
            given[source] = ray.put(runner.sources(source))
        train = train_on_gpu if isinstance(work, sources.ByFit) and gpus else train_group
        running[train.remote(study, work, given.get(source))] = work

    while waiting or running:
        ready = [work for work, needs in waiting if not needs & awaited]
        waiting = [(work, needs) for work, needs in waiting if needs & awaited]
        for work in ready:
            try:
                begin(work)
            except Exception as error:  # Its source network's, told again.
                yield work, error
        if not running:
            continue
        (done,), _ = ray.wait(list(running), num_returns=1)
        work = running.pop(done)
        try:
            arrays, machine = ray.get(done)
        except Exception as error:
            yield work, _cause(error)
        else:
            if machine not in machines:
                machines.add(machine)
                runner.say(
                    f"a worker's machine is of another kind ({machine}): last digits may differ "
                    "from those that this machine would get"
                )
            yield work, arrays
        if isinstance(work, plan.SourceGroup):
            awaited -= set(runner.keys(work))


def _needs(runner: "Runner", work: plan.Work) -> list[str]:
    """Returns the keys of the source networks that a group starts from."""
    if isinstance(work, plan.Group) and work.strategy.from_source:
        return runner.keys(work.source)
    return []


def _check_answers(address: str) -> None:
    """Refuses an address where nothing answers: Ray itself would try for many minutes."""
    advice = (
        "start a cluster with `ray start --head --port=6379` and name it as HOST:6379, or unset "
        "RAY_ADDRESS for a cluster on this machine alone"
    )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"RAY_ADDRESS={address}: is not HOST:PORT; {advice}")
    try:
        socket.create_connection((host, int(port)), timeout=_SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"RAY_ADDRESS={address}: nothing answers ({error}); {advice}") from error


def _check_room(nodes: Sequence[Mapping[str, Any]], *, threads: int, on_gpu: bool) -> None:
    """Refuses a cluster, `nodes` of Ray, none of whose machines has what a group needs at once."""
    offered = [node["Resources"] for node in nodes if node["Alive"]]
    largest = max(own.get("CPU", 0) for own in offered)
    if largest < threads:
        raise UserError(
            f"study/params.yaml: replicas.threads: {threads} processors a group, and the cluster's "
            f"largest machine offers Ray {largest:g}; no group could ever start"
        )
    beside = max((own.get("CPU", 0) for own in offered if own.get("GPU", 0) >= 1), default=0)
    if on_gpu and beside < threads:
        raise UserError(
            f"study/params.yaml: replicas.threads: {threads} processors and a GPU for a network "
            f"that trains by fit, and no machine with a GPU offers Ray more than {beside:g} "
            "processors; ask for fewer, or start Ray there with --num-gpus=0, which trains such "
            "networks on processors"
        )


def _cause(error: Exception) -> Exception:
    """Returns what the worker raised, or what Ray says of the worker's end."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, Exception) else error


# What follows runs in a worker, and is kept from one group to the next.
_bench: "tuple[str, Bench] | None" = None
_given: "dict[plan.SourceGroup, Weights]" = {}


def _train_group(
    study: Study, group: plan.Group, trained: "Weights | None", *, on_gpu: bool = False
) -> "tuple[Arrays, str]":
    global _bench
    _begin(study, on_gpu=on_gpu)
    from headstart.study import benches

    if _bench is None or _bench[0] != study.name or not benches.serves(_bench[1], group):
        _bench = None
        own = benches.bench(group, study.prepared, _given.__getitem__, _root(study))
        _bench = study.name, own
    _given.clear()
    if trained is not None:
        _given[group.source] = trained
    return benches.train(_bench[1], group), _machine(group)


def _train_on_gpu(study: Study, group: plan.Group, trained: None) -> "tuple[Arrays, str]":
    return _train_group(study, group, trained, on_gpu=True)


def _machine(group: plan.Group) -> str:
    """Returns what this machine is, as far as it acts on the bytes of a group."""
    if not isinstance(group, sources.ByFit):
        return store.machine()
    from headstart.study import by_fit

    return f"{store.machine()}{' with a GPU' * by_fit.on_gpu()}"


def _root(study: Study) -> Path:
    """Returns a folder with the networks from elsewhere, where the project has them."""
    root = _scratch()
    for place, content in study.networks.items():
        file = root / place
        if not file.is_file() or file.read_bytes() != content:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    return root


@functools.cache
def _scratch() -> Path:
    scratch = tempfile.TemporaryDirectory(prefix="headstart-")
    atexit.register(scratch.cleanup)
    return Path(scratch.name)


def _train_sources(study: Study, group: plan.SourceGroup) -> "tuple[Arrays, str]":
    _begin(study)
    from headstart.study import cells

    prepared = study.prepared
    arrays = cells.train_sources(group, prepared.data, prepared.grid, prepared.replicas.threads)
    return arrays, store.machine()


def _begin(study: Study, *, on_gpu: bool = False) -> None:
    """Makes TensorFlow ready, which sees no GPU unless the group has one from Ray.

    Raises:
        UserError: The worker's code or libraries are not the driver's.
    """
    for name, theirs, mine in (
        ("libraries", study.libraries, store.libraries()),
        ("code of headstart", study.code, store.numeric_code() | sources.acting()),
    ):
        differing = sorted(key for key in theirs if theirs[key] != mine.get(key))
        if differing:
            raise UserError(
                f"{platform.node()}: its {name} are not the driver's ({', '.join(differing)}); "
                "install the same headstart, from the same requirements.lock, on every machine"
            )
    if not on_gpu:
        # Ray leaves all of them to who asks for none.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    _start(study.prepared.replicas.threads, study.prepared.replicas.instructions)


_start = functools.cache(runtime.fix_for_replicas)
