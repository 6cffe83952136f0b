"""LSTM and GRU with torch's parameterisation, length-aware."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import Array

from jaxsdgm.layers.chunks import PACKS, apart, in_one_loop
from jaxsdgm.layers.dropout import RowDropout
from jaxsdgm.layers.gru import gru_scan
from jaxsdgm.layers.linear import uniform_fan
from jaxsdgm.layers.lstm import State, bilstm_scan, lstm_cudnn, lstm_scan, lstm_step
from jaxsdgm.layers.products import matmul

#: of the LSTM: one loop for all rows; one that leaves out rows that have ended, for rows sorted by
#: length; cuDNN's. The last two only outside `vmap` and where rows are not spread over devices.
BACKENDS = ("scan", "packed", "cudnn")


class BiLSTMLayer(nn.Module):
    """One bidirectional LSTM layer.

    Gates are stacked i, f, g, o and there are two bias vectors, as in torch, so that its weights
    import by transposing. Padding never enters the recurrence: the backward direction starts at
    the last real token with a zero state. `backend` is one of BACKENDS; all give the same numbers.
    """

    hidden: int
    backend: str = "scan"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, lengths: Array) -> tuple[Array, Array]:
        """`x [b, t, d]`, `lengths [b]` >= 1 -> outputs `[b, t, 2h]` (0 at padding), last `[b, 2h]`.

        The last states are the forward one at the last real token and the backward one at step 0.
        """
        kernel_in = self._param("kernel_in", (2, x.shape[-1], 4 * self.hidden))
        kernel_hidden = self._param("kernel_hidden", (2, self.hidden, 4 * self.hidden))
        bias = self._param("bias_in", (2, 4 * self.hidden))
        bias = bias + self._param("bias_hidden", (2, 4 * self.hidden))
        x, kernel_in, kernel_hidden, bias = promote_dtype(
            x, kernel_in, kernel_hidden, bias, dtype=self.dtype
        )
        if self.backend == "cudnn":
            return lstm_cudnn(x, kernel_in, kernel_hidden, bias, lengths)
        time_major = x.swapaxes(0, 1)
        packs = PACKS if self.backend == "packed" else 1
        found = bilstm_scan(time_major, kernel_in, kernel_hidden, bias, lengths, packs)
        return found[0].swapaxes(0, 1), found[1]

    def _param(self, name: str, shape: tuple[int, ...]) -> Array:
        return self.param(name, uniform_fan(self.hidden), shape, self.param_dtype)


class BiLSTM(nn.Module):
    """A stack of bidirectional layers with dropout between them (not after the last).

    With the backend "packed" the rows have to be sorted, longest first.
    """

    hidden: int
    layers: int = 2
    dropout: float = 0.0
    backend: str = "scan"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, lengths: Array, row: Array, *, train: bool) -> tuple[Array, Array]:
        """`x [b, t, d]` -> outputs of the top layer `[b, t, 2h]` and its last states `[b, 2h]`."""
        last = x[:, 0]
        for i in range(self.layers):
            if i:
                x = RowDropout(self.dropout)(x, row, train=train)
            types = {"dtype": self.dtype, "param_dtype": self.param_dtype}
            layer = BiLSTMLayer(self.hidden, self.backend, **types, name=f"layer_{i}")
            x, last = layer(x, lengths)
        return x, last


class LSTM(nn.Module):
    """One unidirectional LSTM layer; gates and biases as of `BiLSTMLayer`.

    With the backend "packed" the rows have to be sorted, longest first; cuDNN has no part in it.
    `first_values` makes those of kernels and biases, torch's unless given.
    """

    inputs: int
    hidden: int
    backend: str = "scan"
    first_values: nn.initializers.Initializer | None = None
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        init, wide = self.first_values or uniform_fan(self.hidden), 4 * self.hidden
        param = lambda name, *shape: self.param(name, init, shape, self.param_dtype)
        self.kernel_in = param("kernel_in", self.inputs, wide)
        self.kernel_hidden = param("kernel_hidden", self.hidden, wide)
        self.bias_in, self.bias_hidden = param("bias_in", wide), param("bias_hidden", wide)

    def __call__(self, x: Array, lengths: Array, first: State | None = None) -> tuple[Array, Array]:
        """`x [b, t, d]`, `lengths [b]` >= 1 -> states h `[b, t, h]`, 0 at padding, and the last.

        It starts from the state `first`, h and c `[b, h]`, of zeros unless given.
        """
        x, kernel_in, kernel_hidden, bias = self._promoted(x)
        zero = jnp.zeros((len(x), self.hidden), x.dtype)
        h, c = (zero, zero) if first is None else (state.astype(x.dtype) for state in first)
        rest = lengths, False, PACKS if self.backend == "packed" else 1
        time_major = x.swapaxes(0, 1)
        found: Any = lstm_scan(time_major, kernel_in, kernel_hidden, bias, (h, c), *rest)
        return found[0].swapaxes(0, 1), found[1]

    def step(self, x: Array, state: State) -> State:
        """The state after one input `[b, d]`."""
        x, kernel_in, kernel_hidden, bias = self._promoted(x)
        return lstm_step(matmul(x, kernel_in) + bias, state, kernel_hidden)

    def _promoted(self, x: Array) -> list[Array]:
        parameters = self.kernel_in, self.kernel_hidden, self.bias_in + self.bias_hidden
        return promote_dtype(x, *parameters, dtype=self.dtype)


def longest_first(lengths: Array) -> tuple[Array, Array]:
    """The order of rows that "packed" wants, and the way back from there."""
    order = jnp.argsort(lengths, descending=True)
    return order, jnp.argsort(order)


class GRU(nn.Module):
    """One unidirectional GRU layer, gates stacked r, z, n with two biases as in torch.

    n = tanh(W_in x + b_in + r (W_hn h + b_hn)); h' = (1 - z) n + z h.
    """

    hidden: int
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, state: Array) -> Array:
        """`x [b, t, d]`, first state `[b, h]` -> states after every step `[b, t, h]`."""
        parameters = _gru_parameters(self, x.shape[-1], ())
        x, state, kernel_in, kernel_hidden, bias_in, bias_hidden = promote_dtype(
            x, state, *parameters, dtype=self.dtype
        )
        gates = (matmul(x, kernel_in) + bias_in).swapaxes(0, 1)
        rest = kernel_hidden, bias_hidden, jnp.full(len(x), x.shape[1]), False
        found: Any = gru_scan(gates, state, *rest, 1)
        return found[0].swapaxes(0, 1)


class BiGRUParameters(nn.Module):
    """Kernels and biases of a GRU in both directions, each `[2, ...]`; see `bigru`."""

    hidden: int
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, inputs: int) -> list[Array]:
        """kernel_in, kernel_hidden, bias_in and bias_hidden for inputs of so many numbers."""
        return _gru_parameters(self, inputs, (2,))


def bigru(
    gates: Array, kernel_hidden: Array, bias_hidden: Array, lengths: Array, packs: int
) -> tuple[Array, Array]:
    """Outputs `[b, t, 2h]`, 0 at padding, and last states `[b, 2h]` of a GRU in both directions.

    They start from zeros. The last states are the forward one at the last real token and the
    backward one at step 0.

    Args:
      gates: `[2, b, t, 3h]`, what the inputs give to each direction's gates, bias included.
      kernel_hidden: `[2, h, 3h]`.
      bias_hidden: `[2, 3h]`.
      lengths: `[b]`, which may be 0.
      packs: with more than 1 the rows have to be sorted, longest first (see `gru_scan`).
    """
    zero = jnp.zeros((gates.shape[1], kernel_hidden.shape[1]), gates.dtype)

    def one_way(way: Any, backwards: Array | bool) -> tuple[Array, Array]:
        gates, *parameters = way
        rest: Any = lengths, backwards, packs
        return gru_scan(gates.swapaxes(0, 1), zero, *parameters, *rest)

    arrays = gates, kernel_hidden, bias_hidden
    # a CPU has no use for larger products, and in loops apart no direction has to be reversed
    if packs == 1 and jax.default_backend() != "cpu":
        ways = in_one_loop(one_way, arrays)
    else:
        ways = [one_way(way, bool(i)) for i, way in enumerate(apart(arrays))]
    outputs, last = (jnp.concatenate(found, -1) for found in zip(*ways, strict=True))
    return outputs.swapaxes(0, 1), last


def _gru_parameters(module: Any, inputs: int, ways: tuple[int, ...]) -> list[Array]:
    """Kernels and biases of a GRU, of one way or of several."""
    h, init = module.hidden, uniform_fan(module.hidden)
    shapes = {
        "kernel_in": (*ways, inputs, 3 * h),
        "kernel_hidden": (*ways, h, 3 * h),
        "bias_in": (*ways, 3 * h),
        "bias_hidden": (*ways, 3 * h),
    }
    return [module.param(name, init, shape, module.param_dtype) for name, shape in shapes.items()]
