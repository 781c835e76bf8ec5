"""A pretended accelerator: what goes wrong on a GPU, seen on a machine without one.

    with pretended(devices=2) as meter:
        model = AutoModelForCausalLM.from_pretrained(folder, device_map={...: "cuda:0", ...: "cuda:1"})
        ...  # tensors of two devices in one operation raise what CUDA raises
    print(meter.waits, meter.peak)

Every number is computed by the CPU, so a result is right where it is that of the CPU to the bit. What is proved is
where tensors are, not how fast a device is or how it rounds.

`meter` counts, `rules` says what a device refuses, `claimed` has the tensors, `pretending` exchanges torch's own parts,
`placements` opens a model on the devices in the ways that accelerate offers.
"""

from tests.accelerator.pretending import pretended

__all__ = ["pretended"]
