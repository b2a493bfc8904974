"""The process and Python: what explains a slow or a dying worker."""

from __future__ import annotations

from fulfillment_worker.monitoring.dashboards.panel import PROCESS, Panel, Query, Row, Unit, warn

RUNTIME = Row(
    "Runtime",
    "What do the processes use, and what holds them up?",
    (
        Panel(
            title="CPU",
            unit=Unit.RATIO,
            shows="Processor time of a worker; 100 % is one core, and all that Python can use in "
            "one process.",
            do="Near 100 %: the worker is full, whatever **Busy slots** says. Add workers.",
            queries=(Query("rate(process_cpu_seconds_total{worker}[$__rate_interval])", PROCESS),),
            steps=warn(0.9),
        ),
        Panel(
            title="Memory",
            unit=Unit.BYTES,
            shows="Resident memory of a worker: what counts against its limit.",
            do="A slope without an end is a leak, most often the handler's. Compare it with "
            "**Allocated blocks**: if those stand still, a C library leaks, or the allocator keeps "
            "what it has.",
            queries=(Query("process_resident_memory_bytes{worker}", PROCESS),),
        ),
        Panel(
            title="Descriptors",
            runbooks=("FulfillmentDescriptorsRunningOut",),
            unit=Unit.RATIO,
            shows="Open files and connections, of those that the system allows.",
            do="Climbs: the handler opens connections and doesn't close them. At 100 % nothing can "
            "be opened, Redis included.",
            queries=(Query("process_open_fds{worker} / process_max_fds{worker}", PROCESS),),
            steps=warn(0.8),
        ),
        Panel(
            title="Threads",
            unit=Unit.COUNT,
            shows="Threads as the kernel counts them, and those that Python knows.",
            do="Plain `def` handlers run in threads, one for each running order. More than slots "
            "and a handful: the handler leaks them.",
            queries=(
                Query("process_threads{worker}", f"kernel {PROCESS}"),
                Query("python_threads{worker}", f"Python {PROCESS}"),
            ),
        ),
        Panel(
            title="Tasks",
            unit=Unit.COUNT,
            shows="Tasks of the event loop, counted every few seconds.",
            do="More than slots and a handful, and growing: the handler starts tasks that don't "
            "end.",
            queries=(Query("python_asyncio_tasks{worker}", PROCESS),),
        ),
        Panel(
            title="Event loop lag",
            runbooks=("FulfillmentEventLoopLag",),
            unit=Unit.SECONDS,
            shows="How late the event loop calls back, 99th percentile.",
            do="Above 250 ms: a handler blocks the loop, and slows all others down. Find what it "
            "does without `await`, or make it a plain `def`.",
            queries=(
                Query(
                    "histogram_quantile(0.99, sum by (le, instance, process) "
                    "(rate(python_asyncio_loop_lag_seconds_bucket{worker}[$__rate_interval])))",
                    PROCESS,
                ),
            ),
            steps=warn(0.25),
        ),
        Panel(
            title="GC pauses",
            unit=Unit.RATIO,
            shows="Share of the time for which the garbage collector stopped everything, worst "
            "worker, by generation.",
            do="Above a few per cent: the handler makes many objects that refer to each other, or "
            "keeps very many.",
            queries=(
                Query(
                    "max by (generation) "
                    "(rate(python_gc_pause_seconds_sum{worker}[$__rate_interval]))",
                    "generation {{generation}}",
                ),
            ),
            steps=warn(0.05),
        ),
        Panel(
            title="Collections",
            unit=Unit.PER_SECOND,
            shows="Runs of the garbage collector, over all workers, by generation.",
            do="Explains **GC pauses**: generation 2 is the one that costs.",
            queries=(
                Query(
                    "sum by (generation) "
                    "(rate(python_gc_collections_total{worker}[$__rate_interval]))",
                    "generation {{generation}}",
                ),
            ),
        ),
        Panel(
            title="Allocated blocks",
            unit=Unit.COUNT,
            shows="Blocks of memory that Python has given out.",
            do="A slope without an end is a leak of Python objects.",
            queries=(Query("python_allocated_blocks{worker}", PROCESS),),
        ),
        Panel(
            title="Context switches",
            unit=Unit.PER_SECOND,
            shows="Times that a worker gave the processor back, or that it was taken away.",
            do="Many involuntary ones: the host, or the container's quota, has too little "
            "processor time.",
            queries=(
                Query(
                    "sum by (type) "
                    "(rate(process_context_switches_total{worker}[$__rate_interval]))",
                    "{{type}}",
                ),
            ),
        ),
        Panel(
            title="Uptime",
            unit=Unit.SECONDS,
            shows="Time since a worker started. A fall to 0 is a restart.",
            do="Saw teeth: it crashes. Its log, and the exit code that the platform keeps, say "
            "why; 137 is mostly a lack of memory.",
            queries=(Query("time() - process_start_time_seconds{worker}", PROCESS),),
        ),
        Panel(
            title="Restarts",
            runbooks=("FulfillmentCrashLooping",),
            unit=Unit.COUNT,
            shows="Times that each worker was started anew in the hour before, and processes that "
            "crashed under a supervisor, by how.",
            do="After a roll-out one or two are right, and so are processes that are replaced "
            "since they are worn out. Crashes, and going on: see **Uptime**.",
            queries=(
                Query("changes(process_start_time_seconds{worker}[1h])", PROCESS),
                Query(
                    "sum by (reason) (increase(fulfillment_worker_crashes_total{worker}[1h]))",
                    "crashed: {{reason}}",
                ),
            ),
            steps=warn(3),
        ),
        Panel(
            title="Log messages",
            unit=Unit.PER_SECOND,
            shows="Messages logged at `warning` and above, over all workers.",
            do="A burst: read the log of that time.",
            queries=(
                Query(
                    "sum by (level) (rate(fulfillment_log_messages_total"
                    '{worker, level=~"warning|error|critical"}[$__rate_interval]))',
                    "{{level}}",
                ),
            ),
        ),
        Panel(
            title="Versions",
            unit=Unit.COUNT,
            shows="Workers by the version that they run, and processes by that of Python.",
            do="Two versions for long: a roll-out stopped half-way.",
            queries=(
                Query(
                    "count by (version, revision) (fulfillment_build_info{worker})",
                    "{{version}} {{revision}}",
                ),
                Query("count by (version) (python_info{worker})", "Python {{version}}"),
            ),
        ),
    ),
)
