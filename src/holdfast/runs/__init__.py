"""Run directories and how work is shared: `Run` (a folder whose files are written atomically and
read by public functions), `Journal` (finished examples as chunks that survive a kill), `Metrics`
(JSON lines), `Shard`, `Ranks` and `run_jobs` (which process does which examples, and how they wait
for each other), `graceful_interrupt`. The modules `atomic` (`write_json`, `replace`), `lock`
(`lock`) and `environment` (`environment`) are imported by name: their functions would be shadowed
here by the modules themselves.
"""

from holdfast.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Claims": ".claims",
        "Journal": ".journal",
        "Metrics": ".metrics",
        "Ranks": ".ranks",
        "Run": ".directory",
        "Shard": ".executors",
        "agree": ".executors",
        "graceful_interrupt": ".interrupt",
        "run_jobs": ".executors",
        "run_on_ray": ".ray_jobs",
    },
)
