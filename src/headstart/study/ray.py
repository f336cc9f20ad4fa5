"""The same groups on a Ray cluster: this machine, or the one that RAY_ADDRESS names.

The data goes to each machine once. Workers only compute: results come back to the driver, which
alone writes files and talks to MLflow. A group whose worker dies is sent to another one; what
it computes does not depend on where it runs, so that the bytes are those of the local engine.
"""

import functools
import os
import platform
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headstart.core import runtime
from headstart.core.errors import UserError
from headstart.study import plan, store
from headstart.study.prepare import Prepared

if TYPE_CHECKING:
    from headstart.study.cells import Bench, Weights
    from headstart.study.run import Arrays, Runner

# A group is given up after so many workers died over it.
_RETRIES = 5
_SECONDS_TO_ANSWER = 10


@dataclass(frozen=True)
class Study:
    """What every worker needs: the grid, its data, and what the driver computes with.

    `name` tells it from other studies, `code` hashes the driver's numeric code.
    """

    name: str
    prepared: Prepared
    code: Mapping[str, str]
    libraries: Mapping[str, str]


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
    _check_room(ray, replicas.threads)
    remote = ray.remote(num_cpus=replicas.threads, max_retries=_RETRIES)
    train_group, train_sources = remote(_train_group), remote(_train_sources)
    # The machine's own memory holds it for all of its workers.
    study = ray.put(
        Study(
            name=runner.store.key({"grid": runner.prepared.grid}),
            prepared=runner.prepared,
            code=runner.store.common["code"],
            libraries=runner.store.common["libraries"],
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
        running[train_group.remote(study, work, given.get(source))] = work

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


def _check_room(ray: Any, threads: int) -> None:
    largest = max(node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
    if largest < threads:
        raise UserError(
            f"study/params.yaml: replicas.threads: {threads} processors a group, and the cluster's "
            f"largest machine offers Ray {largest:g}; no group could ever start"
        )


def _cause(error: Exception) -> Exception:
    """Returns what the worker raised, or what Ray says of the worker's end."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, Exception) else error


# What follows runs in a worker, and is kept from one group to the next.
_bench: "tuple[str, Bench] | None" = None
_given: "dict[plan.SourceGroup, Weights]" = {}


def _train_group(
    study: Study, group: plan.Group, sources: "Weights | None"
) -> "tuple[Arrays, str]":
    global _bench
    _begin(study)
    from headstart.study import cells

    prepared = study.prepared
    if _bench is None or _bench[0] != study.name or not _bench[1].serves(group):
        _bench = None
        own = cells.bench(
            group, prepared.data, prepared.grid, _given.__getitem__, prepared.replicas.threads
        )
        _bench = study.name, own
    _given.clear()
    if sources is not None:
        _given[group.source] = sources
    return cells.train(_bench[1], group), store.machine()


def _train_sources(study: Study, group: plan.SourceGroup) -> "tuple[Arrays, str]":
    _begin(study)
    from headstart.study import cells

    prepared = study.prepared
    arrays = cells.train_sources(group, prepared.data, prepared.grid, prepared.replicas.threads)
    return arrays, store.machine()


def _begin(study: Study) -> None:
    """Makes TensorFlow ready.

    Raises:
        UserError: The worker's code or libraries are not the driver's.
    """
    for name, theirs, mine in (
        ("libraries", study.libraries, store.libraries()),
        ("code of headstart", study.code, store.numeric_code()),
    ):
        differing = sorted(key for key in theirs if theirs[key] != mine.get(key))
        if differing:
            raise UserError(
                f"{platform.node()}: its {name} are not the driver's ({', '.join(differing)}); "
                "install the same headstart, from the same requirements.lock, on every machine"
            )
    _start(study.prepared.replicas.threads, study.prepared.replicas.instructions)


_start = functools.cache(runtime.fix_for_replicas)
