"""The pretended accelerator refuses what a real one refuses, and computes what the CPU computes."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.accelerator import pretended

A, B = "cuda:0", "cuda:1"


def ones(device: str = A) -> Tensor:
    return torch.ones(3, 4, device=device)


REFUSED: dict[str, Callable[[], object]] = {
    "a sum with the CPU": lambda: ones() + ones("cpu"),
    "a sum over two devices": lambda: ones(A) + ones(B),
    "a product with the CPU": lambda: nn.Linear(4, 5).to(A)(ones("cpu")),
    "a choice by the CPU": lambda: torch.where(ones("cpu") > 0, ones(), ones()),
    "an index of the CPU's": lambda: ones().index_select(0, torch.tensor([0])),
    "an index on another device": lambda: ones(A)[torch.tensor([0], device=B)],
    "an index on a device into the CPU": lambda: ones("cpu")[torch.tensor([0], device=A)],
    "numpy": lambda: ones().numpy(),
    "a generator of the CPU's": lambda: torch.multinomial(ones(), 1, generator=torch.Generator()),
    "a device too many": lambda: ones("cuda:2"),
    "a number written into the CPU": lambda: ones("cpu").add_(ones()),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_device_refuses_is_refused(what: str) -> None:
    with pretended(devices=2), pytest.raises((RuntimeError, TypeError)):
        REFUSED[what]()


def test_what_a_device_takes_is_on_it() -> None:
    with pretended(devices=2):
        x = torch.randn(3, 4, device=A)
        found = [x + torch.tensor(1.0), x * 2, x[torch.tensor([0, 1])], x[:, :0], x.new_zeros(2), torch.zeros_like(x)]
        found += [x.bfloat16(), x.view(-1), x.to(B).to(A), copy.deepcopy(nn.Linear(4, 4).to(A))(x)]
        assert {str(each.device) for each in found} == {A}
        assert str(x.cpu().device) == "cpu" and torch.cuda.device_count() == 2


def test_gradients_find_their_way_back_over_devices() -> None:
    with pretended(devices=2):
        w = torch.randn(5, device=A, requires_grad=True)
        out = w.sin().to(B).cos()
        (found,) = torch.autograd.grad(out, w, torch.eye(5, device=B), is_grads_batched=True)
        assert str(found.device) == A
        assert torch.equal(found.cpu().diag(), (-w.sin().sin() * w.cos()).detach().cpu())


def test_memory_is_counted_and_comes_to_an_end() -> None:
    with pretended(devices=1, memory=10_000) as meter:
        x = torch.ones(1000, device=A)
        y = x.view(10, 100)
        assert meter.held[x.device] == 4000
        with pytest.raises(torch.OutOfMemoryError):
            torch.ones(2000, device=A)
        del x
        gc.collect()
        assert meter.held[y.device] == 4000 == meter.peak[y.device]
        assert torch.cuda.mem_get_info(0) == (6000, 10_000)


def test_waits_and_copies_are_counted() -> None:
    with pretended(devices=1) as meter:
        x = torch.ones(3, device=A)
        assert float(x.sum()) == 3 and x.tolist() == [1, 1, 1]
        x.cpu()
        assert sum(meter.waits.values()) == 3 and sum(meter.copies.values()) == 1


def test_a_kind_without_float64_has_none() -> None:
    with pretended(devices=1, kind="mps"):
        x = torch.ones(3, device="mps")
        with pytest.raises(TypeError, match="float64"):
            x.double()
        assert x.cpu().double().dtype == torch.float64 and torch.backends.mps.is_available()


def test_the_simulated_accelerator_leaves_nothing_behind() -> None:
    before = (torch.tensor, torch.device, Tensor.to, torch.Generator, torch.autograd.grad, torch.cuda.device_count)
    with pretended():
        assert torch.cuda.is_available()
    assert before == (
        torch.tensor,
        torch.device,
        Tensor.to,
        torch.Generator,
        torch.autograd.grad,
        torch.cuda.device_count,
    )
