"""The part of the catalogue that is about Python and the process, as Go's runtime metrics are."""

from __future__ import annotations

from fulfillment_worker.observability.spec import Merge, MetricKind, MetricSpec, Source

GENERATIONS = ("0", "1", "2")
# 250 ms is where an alert looks; below 5 ms nobody notices; the lease bounds what matters above.
LAG_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# The young generation takes microseconds, a full collection of a large heap up to seconds.
PAUSE_BUCKETS = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1)

ASYNCIO_TASKS = MetricSpec(
    name="python_asyncio_tasks",
    kind=MetricKind.GAUGE,
    merge=Merge.EACH,
    help="Tasks of the event loop, as last counted (every few seconds).",
    why="A leak of tasks. Counted rarely, since counting costs a millisecond per thousand.",
)
ASYNCIO_LOOP_LAG = MetricSpec(
    name="python_asyncio_loop_lag_seconds",
    kind=MetricKind.HISTOGRAM,
    merge=Merge.EACH,
    buckets=LAG_BUCKETS,
    help="How late the event loop called a timer back.",
    why="Shows handlers that block the loop. A timer that a blockage swallowed is counted with "
    "the lag that it would have had, so that one long blockage doesn't count as one sample.",
)
PROCESS_THREADS = MetricSpec(
    name="process_threads",
    kind=MetricKind.GAUGE,
    source=Source.RUNTIME,
    help="Threads of the process, as the kernel counts them.",
    why="Includes the threads that C libraries start.",
)
PYTHON_THREADS = MetricSpec(
    name="python_threads",
    kind=MetricKind.GAUGE,
    source=Source.RUNTIME,
    help="Threads that Python knows.",
    why="Plain handlers run in threads: a leak of them shows here.",
)
ALLOCATED_BLOCKS = MetricSpec(
    name="python_allocated_blocks",
    kind=MetricKind.GAUGE,
    source=Source.RUNTIME,
    help="Memory blocks that Python's allocator has given out.",
    why="Tells a leak of objects from memory that the allocator keeps.",
)
GC_PAUSE = MetricSpec(
    name="python_gc_pause_seconds",
    kind=MetricKind.HISTOGRAM,
    labels=("generation",),
    values=(GENERATIONS,),
    buckets=PAUSE_BUCKETS,
    source=Source.RUNTIME,
    help="Time for which the garbage collector stopped everything, by generation.",
    why="Explains latency that no handler causes.",
)
CONTEXT_SWITCHES = MetricSpec(
    name="process_context_switches_total",
    kind=MetricKind.COUNTER,
    labels=("type",),
    values=(("voluntary", "involuntary"),),
    source=Source.RUNTIME,
    help="Times that the kernel took the processor from this process, by who wanted it.",
    why="Involuntary ones tell of a host or a quota with too little processor time.",
)


def _library(name: str, kind: MetricKind, help_: str, why: str, *labels: str) -> MetricSpec:
    values = (GENERATIONS,) if labels == ("generation",) else ()
    return MetricSpec(
        name=name,
        kind=kind,
        help=help_,
        why=why,
        labels=labels,
        values=values,
        source=Source.LIBRARY,
    )


_LIBRARY = (
    _library(
        "process_virtual_memory_bytes",
        MetricKind.GAUGE,
        "Virtual memory size in bytes.",
        "Address space; seldom of interest.",
    ),
    _library(
        "process_resident_memory_bytes",
        MetricKind.GAUGE,
        "Resident memory size in bytes.",
        "What counts against the memory limit.",
    ),
    _library(
        "process_start_time_seconds",
        MetricKind.GAUGE,
        "Start time of the process since unix epoch in seconds.",
        "Restarts, and crash loops.",
    ),
    _library(
        "process_cpu_seconds_total",
        MetricKind.COUNTER,
        "Total user and system CPU time spent in seconds.",
        "One worker can use one core: near 1 a second it is full.",
    ),
    _library(
        "process_open_fds",
        MetricKind.GAUGE,
        "Number of open file descriptors.",
        "A leak of connections or files.",
    ),
    _library(
        "process_max_fds",
        MetricKind.GAUGE,
        "Maximum number of open file descriptors.",
        "The limit for the former.",
    ),
    _library(
        "python_info",
        MetricKind.GAUGE,
        "Python platform information",
        "Always 1; which Python runs it.",
        "implementation",
        "major",
        "minor",
        "patchlevel",
        "version",
    ),
    _library(
        "python_gc_objects_collected_total",
        MetricKind.COUNTER,
        "Objects collected during gc",
        "How much garbage has cycles.",
        "generation",
    ),
    _library(
        "python_gc_objects_uncollectable_total",
        MetricKind.COUNTER,
        "Uncollectable objects found during GC",
        "Leaks in C extensions.",
        "generation",
    ),
    _library(
        "python_gc_collections_total",
        MetricKind.COUNTER,
        "Number of times this generation was collected",
        "How often the collector runs.",
        "generation",
    ),
)

RUNTIME_CATALOGUE: tuple[MetricSpec, ...] = (
    ASYNCIO_TASKS,
    ASYNCIO_LOOP_LAG,
    PROCESS_THREADS,
    PYTHON_THREADS,
    ALLOCATED_BLOCKS,
    GC_PAUSE,
    CONTEXT_SWITCHES,
    *_LIBRARY,
)
