"""Whether a bundle's head serves an experiment's labels, and what its channels then stand for."""

from tasks.compute.loader.channels import match

OWN = {1: "spleen", 2: "Left_Kidney", 3: "liver"}


def test_names_that_the_bundle_has_keep_its_head() -> None:
    channels = match(OWN, {0: "background", 7: "liver", 2: "left kidney"}, count=4, exclusive=True)
    assert not channels.rebuilt
    assert channels.labels == (0, 0, 2, 7)
    assert channels.channel_of() == {2: 2, 7: 3}
    assert channels.foreground == {2: "Left_Kidney", 3: "liver"}


def test_other_names_ask_for_a_new_head_in_the_order_of_their_indices() -> None:
    channels = match(OWN, {5: "tumour", 3: "spleen"}, count=4, exclusive=True)
    assert channels.rebuilt
    assert channels.names == ("background", "spleen", "tumour")
    assert channels.labels == (0, 3, 5)


def test_a_mask_per_channel_has_no_background_channel() -> None:
    channels = match({0: "tumour core", 1: "whole tumour"}, {1: "whole tumour"}, count=2, exclusive=False)
    assert channels.labels == (0, 1)
    assert channels.channel_of() == {1: 2}


def test_what_an_annotator_left_out_is_not_drawn() -> None:
    channels = match(OWN, {1: "spleen", 2: "left kidney"}, count=4, exclusive=True)
    assert channels.drawn(None) == [False, True, True, False]
    assert channels.drawn(["Spleen"]) == [False, True, False, False]
