from holdfast.core.counting import PassCounter


def test_a_counter_starts_at_zero_and_counts_each_kind_apart():
    passes = PassCounter()
    assert passes == PassCounter(forwards=0, backwards=0, padding=0)
    passes.forwards += 3
    passes.padding += 2
    assert (passes.forwards, passes.backwards, passes.padding) == (3, 0, 2)
