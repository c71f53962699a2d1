"""The result as text, as plain data, and on disk."""

import json

from holdfast.benchmark.evaluate import evaluate
from holdfast.data.adapt import as_data
from holdfast.threats import Linf
from nets import examples, small_net


def found(**options):
    net = small_net()
    return evaluate(net, as_data(examples(9, net)), Linf(0.01), attacks="fgsm", block=4, **options)


def test_table_gives_the_three_accuracies():
    answer = found()
    text = str(answer)
    for value in (answer.clean_accuracy, answer.robust_accuracy, answer.certified_accuracy):
        assert f"{value:.2%}" in text
    assert "not run" in str(found(bounds=()))


def test_result_is_plain_data_and_a_copy():
    answer = found(radii=[0.02])
    assert json.loads(json.dumps(answer.to_dict())) == answer.result
    answer.to_dict()["examples"] = 0
    assert answer.result["examples"] == 9


def test_notebooks_show_it_escaped_of_nothing_harmful():
    assert found()._repr_html_().startswith("<pre>9 examples")


def test_names_are_recorded():
    result = found(names={"model": "mine", "data": "theirs"}).result
    assert (result["model"], result["data"]) == ("mine", "theirs")
