"""LSTM and GRU with torch's parameterisation, length-aware."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype
from jax import Array

from jaxsdgm.layers.dropout import RowDropout
from jaxsdgm.layers.linear import uniform_fan
from jaxsdgm.layers.lstm import PACKS, lstm_cudnn, lstm_scan

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

        def one_way(kernel_in: Array, kernel_hidden: Array, bias: Array, backwards: Array) -> Any:
            parameters = kernel_in, kernel_hidden, bias
            return lstm_scan(time_major, *parameters, lengths, backwards, packs)

        both = kernel_in, kernel_hidden, bias, jnp.array([False, True])
        if packs == 1:
            outputs, last = jax.vmap(one_way)(*both)
        else:  # the rows at work differ
            outputs, last = jax.lax.map(lambda way: one_way(*way), both)
        return jnp.concatenate([*outputs], -1).swapaxes(0, 1), jnp.concatenate([*last], -1)

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
    """One unidirectional LSTM layer from a state of zeros; gates and biases as of `BiLSTMLayer`.

    With the backend "packed" the rows have to be sorted, longest first; cuDNN has no part in it.
    """

    hidden: int
    backend: str = "scan"
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, lengths: Array) -> Array:
        """`x [b, t, d]`, `lengths [b]` >= 1 -> states of all steps `[b, t, h]`, 0 at padding."""
        kernel_in = self._param("kernel_in", (x.shape[-1], 4 * self.hidden))
        kernel_hidden = self._param("kernel_hidden", (self.hidden, 4 * self.hidden))
        bias = self._param("bias_in", (4 * self.hidden,))
        bias = bias + self._param("bias_hidden", (4 * self.hidden,))
        x, kernel_in, kernel_hidden, bias = promote_dtype(
            x, kernel_in, kernel_hidden, bias, dtype=self.dtype
        )
        packs = PACKS if self.backend == "packed" else 1
        parameters = kernel_in, kernel_hidden, bias, lengths, jnp.array(False)
        found: Any = lstm_scan(x.swapaxes(0, 1), *parameters, packs)
        return found[0].swapaxes(0, 1)

    def _param(self, name: str, shape: tuple[int, ...]) -> Array:
        return self.param(name, uniform_fan(self.hidden), shape, self.param_dtype)


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
        init = uniform_fan(self.hidden)
        shapes = {
            "kernel_in": (x.shape[-1], 3 * self.hidden),
            "kernel_hidden": (self.hidden, 3 * self.hidden),
            "bias_in": (3 * self.hidden,),
            "bias_hidden": (3 * self.hidden,),
        }
        params = [self.param(name, init, shape, self.param_dtype) for name, shape in shapes.items()]
        x, state, kernel_in, kernel_hidden, bias_in, bias_hidden = promote_dtype(
            x, state, *params, dtype=self.dtype
        )

        def cell(h: Array, gate: Array) -> tuple[Array, Array]:
            r, z, n = jnp.split(gate, 3, axis=-1)
            hidden_r, hidden_z, hidden_n = jnp.split(h @ kernel_hidden + bias_hidden, 3, axis=-1)
            z = jax.nn.sigmoid(z + hidden_z)
            n = jnp.tanh(n + jax.nn.sigmoid(r + hidden_r) * hidden_n)
            h = (1 - z) * n + z * h
            return h, h

        gates = (x @ kernel_in + bias_in).swapaxes(0, 1)  # t b 3h
        return jax.lax.scan(cell, state, gates)[1].swapaxes(0, 1)
