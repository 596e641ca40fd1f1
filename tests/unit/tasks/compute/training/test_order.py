"""The order of cases is a function of seed and epoch, shared out evenly."""

from tasks.compute.training.order import EpochOrder


def test_an_epoch_left_in_its_middle_goes_on_where_it_was_and_the_next_is_whole() -> None:
    whole, left = EpochOrder(7, seed=3), EpochOrder(7, seed=3, begin=(2, 4))
    whole.set_epoch(2)
    assert len(left) == 3

    assert list(left) == list(whole)[4:]

    for order in (whole, left):
        order.set_epoch(3)
    assert len(left) == 7
    assert list(left) == list(whole)


def test_ranks_share_an_epoch_and_draw_as_many_cases_each() -> None:
    ranks = [EpochOrder(7, seed=3, rank=(rank, 3)) for rank in range(3)]

    drawn = [list(order) for order in ranks]

    assert [len(each) for each in drawn] == [len(order) for order in ranks] == [3, 3, 3]
    assert {draw.case for each in drawn for draw in each} == set(range(7))
