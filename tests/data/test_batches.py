"""Plans: what is in which step, as a pure function of the seed and the step."""

from itertools import combinations

import numpy as np
import pytest

from jaxsdgm.data.batches import (
    PretrainingPlan,
    SemiSupervisedPlan,
    TwoLanguagePlan,
    least_padding,
    stratified_epoch,
)

LABELS = np.repeat([0, 1, 2, 3], [9, 7, 8, 8])


def plan(**fields):
    defaults = {
        "labelled": np.arange(100, 132),
        "labels": LABELS,
        "unlabelled": np.arange(50),
        "batch_size": 16,
        "seed": 3,
    }
    return SemiSupervisedPlan(**{**defaults, **fields})


def rows(plan, group):
    part = plan[group]
    return [i[m > 0].tolist() for i, m in zip(part["index"], part["mask"], strict=True)]


def test_every_batch_has_the_proportions_of_the_data():
    batches = stratified_epoch(LABELS, 16, np.random.default_rng(0))
    # floor(j 16 p_c): of 9, 7, 8, 8 documents the first batch has 4, 3, 4, 4
    counts = [np.bincount(LABELS[batch], minlength=4).tolist() for batch in batches]
    assert counts == [[4, 3, 4, 4], [5, 4, 4, 4]]
    assert sorted(np.concatenate(batches)) == list(range(32))


def test_an_epoch_of_unlabelled_documents_is_one_pass():
    of_epoch = rows(plan(unlabelled=np.arange(51))(0, 2), "unlabelled")
    assert [len(batch) for batch in of_epoch] == [25, 26]  # the last step takes the rest
    assert sorted(sum(of_epoch, [])) == list(range(51))


def test_a_fixed_number_goes_round_and_round():
    seen = sum(rows(plan(unlabelled_size=20)(0, 5), "unlabelled"), [])
    assert sorted(seen[:50]) == sorted(seen[50:]) == list(range(50))


def test_further_documents_have_a_share_of_every_step():
    fields = {"unlabelled_size": 9, "further": np.arange(200, 260), "further_share": 1 / 3}
    batches = rows(plan(**fields)(0, 20), "unlabelled")
    assert [sum(i >= 200 for i in batch) for batch in batches] == [3] * 20
    seen = [i for batch in batches for i in batch if i >= 200]
    assert sorted(seen) == list(range(200, 260))
    alone = rows(plan(unlabelled_size=6)(0, 20), "unlabelled")
    assert [[i for i in batch if i < 200] for batch in batches] == alone
    few = rows(plan(**{**fields, "further": np.arange(200, 205)})(0, 5), "unlabelled")
    assert [sum(i >= 200 for i in batch) for batch in few] == [1] * 5  # 9 of 55 documents
    only = rows(plan(**fields, unlabelled=np.arange(0))(0, 2), "unlabelled")
    assert all(i >= 200 for batch in only for i in batch)
    of_pass = rows(plan(further=np.arange(200, 210))(0, 2), "unlabelled")
    assert sorted(sum(of_pass, [])) == [*range(50), *range(200, 210)]


@pytest.mark.parametrize("unlabelled_size", [0, 20])
def test_a_plan_depends_on_the_step_alone(unlabelled_size):
    make = plan(unlabelled_size=unlabelled_size)
    whole, later = make(0, 9), make(4, 3)
    for group, part in later.items():
        for name, values in part.items():
            np.testing.assert_array_equal(values, whole[group][name][4:7])
    assert rows(plan(seed=4)(0, 9), "labelled") != rows(whole, "labelled")


def test_widths_for_several_devices():
    one, four = plan()(0, 4), plan(multiple=4)(0, 4)
    for group in ("labelled", "unlabelled"):
        assert four[group]["index"].shape[1] % 4 == 0
        assert rows(one, group) == rows(four, group)
        width = one[group]["row"].shape[1]
        np.testing.assert_array_equal(four[group]["row"][:, :width], one[group]["row"])


def test_groups_do_not_share_row_numbers():
    of_step = plan()(0, 1)
    assert not set(of_step["labelled"]["row"][0]) & set(of_step["unlabelled"]["row"][0])


def test_without_unlabelled_documents_there_is_no_such_group():
    assert plan(unlabelled=np.arange(0)).groups == {"labelled": 32}
    assert set(plan(unlabelled=np.arange(0))(0, 1)) == {"labelled"}


def test_pretraining_takes_every_sentence_once_an_epoch():
    make = PretrainingPlan("sentences", n_texts=10, batch_size=4, seed=0, stream=1)
    assert make.rounds_per_epoch == 3
    batches = rows(make(0, 6), "sentences")
    assert [len(batch) for batch in batches] == [4, 4, 2, 4, 4, 2]
    assert sorted(sum(batches[:3], [])) == sorted(sum(batches[3:], [])) == list(range(10))
    other = PretrainingPlan("sentences", n_texts=10, batch_size=4, seed=0, stream=2)
    assert rows(other(0, 6), "sentences") != batches


def test_the_source_makes_the_epochs_of_two_languages():
    nothing = np.arange(0)
    of_target = {"labelled": nothing, "labels": nothing, "unlabelled": np.arange(51), "epoch": 2}
    both = TwoLanguagePlan(plan(unlabelled=nothing), plan(**of_target))
    assert both.steps_per_epoch == 2
    assert both.groups == {"source_labelled": 32, "target_unlabelled": 51}
    found = both(0, 4)
    assert found.keys() == both.groups.keys()
    sizes = [len(batch) for batch in rows(found, "target_unlabelled")]
    assert sizes == [25, 26, 25, 26]  # spec §9: the last step of the source's epoch takes the rest
    np.testing.assert_array_equal(
        rows(both(1, 1), "target_unlabelled")[0], rows(found, "target_unlabelled")[1]
    )
    some = {**of_target, "labelled": np.arange(60, 63), "labels": np.arange(3), "batch_size": 2}
    both = TwoLanguagePlan(plan(), plan(**some))
    assert [*both.groups] == [
        f"{p}_{g}" for p in ("source", "target") for g in ("labelled", "unlabelled")
    ]
    seen = sum(rows(both(0, 4), "target_labelled"), [])
    assert sorted(seen[:3]) == sorted(seen[3:]) == [60, 61, 62]


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_the_widths_with_the_least_padding(count):
    rng = np.random.default_rng(count)
    for n in (1, 5, 30):
        lengths = rng.integers(1, 10, n)
        sizes = np.unique(lengths).tolist()
        cost = lambda widths, lengths=lengths: sum(
            min(w for w in widths if w >= x) for x in lengths
        )
        found = least_padding(lengths, count)
        every = [c for c in combinations(sizes, min(count, len(sizes))) if c[-1] == sizes[-1]]
        assert tuple(found) in every
        assert cost(found) == min(map(cost, every))
