"""Classes that an annotator did not draw teach nothing."""

import torch
from monai.losses import DiceCELoss

from tasks.compute.training.masking import mask_logits

LOSS = DiceCELoss(to_onehot_y=True, softmax=True)


def test_everything_drawn_changes_nothing() -> None:
    logits = torch.randn(2, 4, 3, 3, 3)
    drawn = torch.tensor([[False, True, True, True]] * 2)
    assert mask_logits(logits, drawn, exclusive=True) is logits


def test_predicting_an_undrawn_class_where_the_label_says_background_costs_nothing() -> None:
    label = torch.zeros(1, 1, 4, 4, 4)
    label[..., :2] = 1
    drawn = torch.tensor([[False, True, False]])
    background, undrawn = torch.full((2, 1, 3, 4, 4, 4), -9.0)
    for logits, elsewhere in ((background, 0), (undrawn, 2)):
        logits[:, 1, ..., :2] = 9
        logits[:, elsewhere, ..., 2:] = 9
    losses = [LOSS(mask_logits(logits, drawn, exclusive=True), label) for logits in (background, undrawn)]
    torch.testing.assert_close(*losses)
    assert LOSS(undrawn, label) > LOSS(background, label) + 0.1


def test_the_gradient_does_not_tell_an_undrawn_class_from_background() -> None:
    logits = torch.randn(1, 3, 2, 2, 2, requires_grad=True)
    masked = mask_logits(logits, torch.tensor([[False, True, False]]), exclusive=True)
    loss = LOSS(masked, torch.ones(1, 1, 2, 2, 2))
    loss.backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
    shares = torch.softmax(logits[:, [0, 2]], 1)
    pushed = logits.grad[:, [0, 2]]
    torch.testing.assert_close(pushed, shares * pushed.sum(1, keepdim=True), rtol=1e-3, atol=1e-6)


def test_an_undrawn_mask_gets_no_gradient() -> None:
    logits = torch.zeros(1, 2, 2, 2, 2, requires_grad=True)
    masked = mask_logits(logits, torch.tensor([[True, False]]), exclusive=False)
    torch.sigmoid(masked).sum().backward()  # type: ignore[no-untyped-call]  # PyTorch's own
    assert logits.grad is not None
    assert bool(logits.grad[:, 0].any())
    assert not bool(logits.grad[:, 1].any())
