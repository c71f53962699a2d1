"""Schedules: numbers that change while a model is trained (learning rate, radius, mixing weight),
each a frozen object that maps progress, 0 at the start and 1 at the end, to a value. None of them
knows of epochs or batches; `catalogue.SCHEDULES` lists them."""

from holdfast.core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Budget": ".budget",
        "Clipped": ".composed",
        "Constant": ".constant",
        "Cosine": ".cosine",
        "Cyclic": ".linear",
        "Drops": ".composed",
        "Exponential": ".growth",
        "Held": ".composed",
        "Knots": ".linear",
        "Linear": ".linear",
        "Periodic": ".composed",
        "Piecewise": ".piecewise",
        "Power": ".growth",
        "SCHEDULES": ".catalogue",
        "Schedule": ".protocol",
        "Steps": ".piecewise",
        "Warmup": ".composed",
    },
)
