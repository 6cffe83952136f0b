"""Tiny random checkpoints and what torch makes of them; `python -m tests.weights.oracle` writes
those of tests/golden/bert anew."""

from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parents[1] / "golden" / "bert"
LENGTHS = np.array([12, 5, 1], np.int32)
COMMON = {"vocab_size": 40, "max_position_embeddings": 16}
BERT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
}
#: family -> (stem of the classes, what is saved, options of its config)
FAMILIES = {
    "bert": ("Bert", "Model", {**BERT, "pad_token_id": 0}),
    "xlm-roberta": (
        "XLMRoberta",
        "ForMaskedLM",
        {**BERT, "type_vocab_size": 1, "layer_norm_eps": 0.01},
    ),
    "roberta": ("Roberta", "Model", {**BERT, "hidden_act": "gelu_new", "type_vocab_size": 1}),
    "distilbert": (
        "DistilBert",
        "ForMaskedLM",
        {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "activation": "relu"},
    ),
}


def documents(pad_id: int, seed: int = 0) -> np.ndarray:
    """Random ids [3, 12] without special ones, padded."""
    ids = np.random.default_rng(seed).integers(5, 40, (3, 12)).astype(np.int32)
    return np.where(np.arange(12) < LENGTHS[:, None], ids, pad_id)


def make(family: str, folder: Path, seed: int = 0) -> None:
    """Writes a checkpoint whose every array is random, norms and biases too."""
    import torch
    import transformers

    stem, head, options = FAMILIES[family]
    config = getattr(transformers, f"{stem}Config")(**COMMON, **options)
    model = getattr(transformers, f"{stem}{head}")(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if "norm" in name.lower() and name.endswith("weight") else 0.0
            parameter.copy_(centre + 0.3 * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)


def torch_model(folder: Path):
    """The encoder in a folder, float32, for evaluation."""
    import torch
    import transformers

    return transformers.AutoModel.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()


def outputs(folder: Path, ids: np.ndarray, lengths: np.ndarray) -> dict[str, np.ndarray]:
    """Hidden states, pooled ones where the model has them, and gradients of sum(hidden^2 w).

    The weights w are 0 at padding and 1 + d / 10 in dimension d, since sum(hidden^2) of normed
    states hardly depends on anything.
    """
    import torch

    model = torch_model(folder)
    mask = torch.from_numpy((np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64))
    result = model(torch.from_numpy(ids).long(), attention_mask=mask)
    hidden = result.last_hidden_state
    weights = mask[..., None] * (1 + torch.arange(hidden.shape[-1]) / 10)
    (hidden**2 * weights).sum().backward()
    arrays = {"hidden": hidden.detach().numpy()}
    if result.get("pooler_output") is not None:
        arrays["pooled"] = result.pooler_output.detach().numpy()
    gradients = {n: p.grad.numpy() for n, p in model.named_parameters() if p.grad is not None}
    return {**arrays, **{f"gradient:{name}": g for name, g in gradients.items()}}


def write(folder: Path) -> None:
    for family in FAMILIES:
        make(family, folder / family)
        ids = documents(0 if family in ("bert", "distilbert") else 1)
        arrays = outputs(folder / family, ids, LENGTHS)
        if FAMILIES[family][1] != "Model":
            arrays.pop("pooled", None)  # of a pooler that torch has just made up
        if family != "bert":  # one family's gradients will do
            arrays = {n: a for n, a in arrays.items() if not n.startswith("gradient")}
        np.savez_compressed(folder / family / "golden.npz", ids=ids, lengths=LENGTHS, **arrays)


if __name__ == "__main__":
    write(GOLDEN)
