"""Training: one loop (`train`) over objectives, optimisers and schedules, from a recipe.

`load_recipe` reads a recipe by name or path, `list_recipes` names those that come with the library.
`OBJECTIVES` and `OPTIMIZERS` list what a recipe can name; objectives live in
`holdfast.training.objectives`. The checkpoint is chosen by robust accuracy on held-out training
examples, and an interrupted run goes on to the same bits.
"""

from holdfast.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Adam": ".optimizers",
        "DataSpec": ".recipe",
        "EpochDone": ".events",
        "EvaluationSpec": ".recipe",
        "Event": ".events",
        "MONITORS": ".monitors.catalogue",
        "Memory": ".memory",
        "MixedBatches": ".mixing",
        "ModelSpec": ".recipe",
        "Muon": ".muon",
        "OBJECTIVES": ".objectives.catalogue",
        "OPTIMIZERS": ".catalogue",
        "Phase": ".recipe",
        "RangeTest": ".range_test",
        "RangeTestResult": ".range_test",
        "Recipe": ".recipe",
        "SGD": ".optimizers",
        "SelectionSpec": ".recipe",
        "Snapshots": ".snapshots",
        "Started": ".events",
        "StepDone": ".events",
        "TrainingResult": ".result",
        "TrainingSpec": ".recipe",
        "Visit": ".visit",
        "Warned": ".events",
        "build_for": ".building",
        "find_recipe": ".library",
        "list_recipes": ".library",
        "load_recipe": ".recipe",
        "range_test_of": ".rates",
        "recipe_dict": ".recipe",
        "train": ".loop",
        "tuning_curve": ".tuning",
    },
)
