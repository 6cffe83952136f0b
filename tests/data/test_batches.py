"""Which document is in which step: the rule of spec §8, and plans as pure functions."""

import numpy as np
import pytest

from jaxsdgm.data.batches import (
    ROW_OFFSETS,
    PretrainingPlan,
    SemiSupervisedPlan,
    stratified_epoch,
)

# 32 labelled documents of the paper's EN, classes C, E, G, M: 9, 7, 8, 8
LABELS = np.repeat([0, 1, 2, 3], [9, 7, 8, 8])
LABELLED = np.arange(32) * 10
UNLABELLED = np.setdiff1d(np.arange(320), LABELLED)[:101]


def make(**fields):
    return SemiSupervisedPlan(LABELLED, LABELS, UNLABELLED, **fields)


def documents(rows):
    """The documents of every step of a plan's group, fillers left out."""
    return [i[m > 0].tolist() for i, m in zip(rows["index"], rows["mask"], strict=True)]


def assert_same(plan, other):
    for group, rows in plan.items():
        for name, values in rows.items():
            np.testing.assert_array_equal(values, other[group][name], err_msg=f"{group} {name}")


def test_stratified_epoch_by_hand():
    # 16 j p_c for p = 9/32, 7/32, 8/32, 8/32: floor(4.5), floor(3.5), 4, 4, then the rest
    epoch = stratified_epoch(LABELS, 16, np.random.default_rng(0))
    counts = [np.bincount(LABELS[batch], minlength=4).tolist() for batch in epoch]
    assert counts == [[4, 3, 4, 4], [5, 4, 4, 4]]


def test_stratified_epoch_that_does_not_divide():
    # 7 documents, batches of 3: ends at floor(3 j 5/7) = 2, 4, 5 and floor(3 j 2/7) = 0, 1, 2
    labels = np.array([0, 1, 0, 0, 1, 0, 0])
    epoch = stratified_epoch(labels, 3, np.random.default_rng(0))
    counts = [np.bincount(labels[batch], minlength=2).tolist() for batch in epoch]
    assert counts == [[2, 0], [2, 1], [1, 1]]
    assert sorted(np.concatenate(epoch)) == list(range(7))


def test_every_labelled_document_once_per_epoch_in_another_order():
    plan = make(batch_size=5)
    per_epoch = plan.steps_per_epoch
    assert per_epoch == 7
    epochs = [sum(documents(plan(e * per_epoch, per_epoch)["labelled"]), []) for e in range(3)]
    assert all(sorted(epoch) == LABELLED.tolist() for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_unlabelled_documents_are_shared_out_over_the_epoch():
    plan = make(batch_size=5)  # 7 steps, 101 = 7 * 14 + 3
    steps = documents(plan(0, 14)["unlabelled"])
    assert [len(step) for step in steps] == [14, 14, 14, 14, 14, 14, 17] * 2
    for epoch in (steps[:7], steps[7:]):
        assert sorted(sum(epoch, [])) == UNLABELLED.tolist()


@pytest.mark.parametrize("size", [13, 40, 250])
def test_fixed_size_goes_through_shuffled_passes(size):
    stream = sum(documents(make(unlabelled_size=size)(0, 20)["unlabelled"]), [])
    n = len(UNLABELLED)
    assert len(stream) == 20 * size
    passes = [stream[i : i + n] for i in range(0, len(stream) - n + 1, n)]
    assert passes
    assert all(sorted(p) == UNLABELLED.tolist() for p in passes)


@pytest.mark.parametrize("fields", [{}, {"unlabelled_size": 17}, {"batch_size": 5, "multiple": 4}])
def test_a_plan_does_not_depend_on_where_it_starts(fields):
    plan = make(**fields)
    whole = plan(0, 23)
    for start, count in ((0, 4), (3, 1), (6, 17)):
        slices = {
            group: {name: x[start : start + count] for name, x in rows.items()}
            for group, rows in whole.items()
        }
        assert_same(plan(start, count), slices)


def test_devices_change_the_fillers_only():
    one, four = make(batch_size=5)(0, 9), make(batch_size=5, multiple=4)(0, 9)
    for group in one:
        assert four[group]["index"].shape[1] % 4 == 0
        assert documents(one[group]) == documents(four[group])
        width = one[group]["row"].shape[1]
        np.testing.assert_array_equal(four[group]["row"][:, :width], one[group]["row"])


def test_row_numbers_name_a_row_of_a_step():
    plan = make(batch_size=5, multiple=4)(0, 3)
    for step in range(3):
        rows = np.concatenate([plan[group]["row"][step] for group in plan])
        assert len(set(rows.tolist())) == len(rows)
    assert plan["unlabelled"]["row"][0, 0] == ROW_OFFSETS["unlabelled"]


def test_the_seed_shuffles():
    assert documents(make(seed=1)(0, 1)["labelled"]) != documents(make(seed=2)(0, 1)["labelled"])


def test_without_unlabelled_documents():
    plan = SemiSupervisedPlan(LABELLED, LABELS, UNLABELLED[:0])
    assert plan.groups == tuple(plan(0, 2)) == ("labelled",)


def test_pretraining_plan():
    plan = PretrainingPlan("sentences", 10, batch_size=4, seed=0, stream=0, multiple=3)
    assert plan.rounds_per_epoch == 3
    rows = plan(0, 6)["sentences"]
    assert rows["index"].shape == (6, 6)  # 4, up to a multiple of 3
    steps = documents(rows)
    assert [len(step) for step in steps] == [4, 4, 2, 4, 4, 2]
    assert sorted(sum(steps[:3], [])) == sorted(sum(steps[3:], [])) == list(range(10))
    assert steps[:3] != steps[3:]
    late = {"sentences": {name: x[4:] for name, x in rows.items()}}
    assert_same(plan(4, 2), late)


def test_pretraining_streams_are_shuffled_apart():
    plans = [PretrainingPlan("sentences", 50, 50, seed=0, stream=stream) for stream in (0, 1)]
    assert documents(plans[0](0, 1)["sentences"]) != documents(plans[1](0, 1)["sentences"])
