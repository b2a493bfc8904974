"""The peers, each as its authors would set it for many small orders on one core.

Log lines for each order are off for all, and results are kept by none, since nobody asks for them.
"""

from __future__ import annotations

from benchmarks.peers.peer import BullMQ, Peer, PythonPeer, Sidekiq

PEERS: tuple[Peer, ...] = (
    BullMQ(
        name="BullMQ",
        settings="concurrency 100, removeOnComplete at once, ioredis",
        guarantee="at least once: locks of 30 s, stalled jobs are looked for every 30 s",
        many=20_000,
        at_once=100,
    ),
    Sidekiq(
        name="Sidekiq",
        settings="25 threads (100 for waiting), BasicFetch",
        guarantee="none: a job is gone once it is fetched (the paid super_fetch differs)",
        many=15_000,
        at_once=25,
    ),
    PythonPeer(
        name="taskiq",
        module="on_taskiq",
        worker=lambda at_once: [
            *("taskiq", "worker", "--workers", "1", "--log-level", "WARNING"),
            *("--max-async-tasks", str(at_once), "--max-prefetch", "100", "on_taskiq:broker"),
        ],
        settings="stream broker, 1 process, 300 tasks (100 for waiting), prefetch 100, uvloop",
        guarantee="at least once: acknowledged when executed; others' are claimed after 10 min",
        many=6_000,
        at_once=300,
    ),
    PythonPeer(
        name="Dramatiq",
        module="on_dramatiq",
        worker=lambda at_once: [
            *("dramatiq", "--processes", "1", "--threads", str(at_once), "on_dramatiq"),
        ],
        settings="1 process, 64 threads (100 for waiting)",
        guarantee="at least once: others' are claimed after a missed heartbeat of 60 s",
        many=12_000,
        at_once=64,
    ),
    PythonPeer(
        name="SAQ",
        module="on_saq",
        worker=lambda _: ["saq", "--quiet", "on_saq.settings"],
        settings="concurrency 100, retries 3, uvloop",
        guarantee="at least once: a sweep every 60 s finds what is stuck",
        many=4_000,
        at_once=100,
    ),
    PythonPeer(
        name="arq",
        module="on_arq",
        worker=lambda _: [
            "python",
            "-c",
            "import arq, on_arq as on; arq.run_worker(on.WorkerSettings)",
        ],
        settings="max_jobs 100, poll_delay 0.05 s (0.5 is the default), uvloop",
        guarantee="at least once: a job's lock ends 10 s after its time-out of 300 s",
        many=4_000,
        at_once=100,
    ),
    PythonPeer(
        name="streaq",
        module="on_streaq",
        worker=lambda _: ["python", "-c", "import on_streaq as on; on.worker.run_sync()"],
        settings="concurrency 100, uvloop",
        guarantee="at least once: idle for 60 s, it is claimed by another",
        many=4_000,
        at_once=100,
    ),
    PythonPeer(
        name="huey",
        module="on_huey",
        worker=lambda at_once: [
            *("huey_consumer", "--quiet", "--workers", str(at_once)),
            *("-k", "greenlet" if at_once > 1 else "thread", "on_huey.huey"),
        ],
        settings="100 greenlets, results off",
        guarantee="none: a task is gone once it is popped",
        many=8_000,
        at_once=100,
    ),
    PythonPeer(
        name="Celery",
        module="on_celery",
        worker=lambda at_once: [
            *("celery", "--app", "on_celery", "worker", "--loglevel", "WARNING"),
            *("--pool", "threads" if at_once > 1 else "solo", "--concurrency", str(at_once)),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ],
        settings="solo pool (100 threads for waiting), acks_late, prefetch 10, results ignored",
        guarantee="at least once: unacknowledged tasks are restored after 1 h",
        many=3_000,
        at_once=1,
    ),
    PythonPeer(
        name="RQ",
        module="on_rq",
        worker=lambda _: [
            *("rq", "worker", "--quiet", "--worker-class", "rq.SimpleWorker"),
        ],
        settings="SimpleWorker (no fork for each job), results off",
        guarantee="a job whose worker died is marked as failed by the next clean-up",
        many=2_000,
        at_once=1,
        hundred=False,
    ),
)
