"""A toy engine on the template: GPT-2 in numpy, f32. Run by `worker: { command: [python3, toy.py] }`."""

import json
from pathlib import Path

import numpy as np
import worker_pb2 as pb
from worker import Engine, Refused, serve


class Toy(Engine):
    """GPT-2 as its paper has it, one pass at a time."""

    name, version = "numpy", np.__version__

    def load(self, path, settings):
        config = json.loads(Path(path, "config.json").read_text())
        if config["model_type"] != "gpt2":
            raise Refused(pb.Error.UNSUPPORTED, f"model_type is `{config['model_type']}`, known: gpt2")
        if settings.HasField("threads"):
            raise Refused(pb.Error.UNSUPPORTED, "numpy's threads are set before it starts: OMP_NUM_THREADS")
        data = Path(path, "model.safetensors").read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        self.weights = {
            name.removeprefix("transformer."): np.frombuffer(
                data, "<f4", (at["data_offsets"][1] - at["data_offsets"][0]) // 4, 8 + length + at["data_offsets"][0]
            ).reshape(at["shape"])
            for name, at in header.items()
            if name != "__metadata__" and at["dtype"] == "F32"
        }
        self.layers, self.heads = config["n_layer"], config["n_head"]
        self.vocabulary, self.context = config["vocab_size"], config["n_positions"]

    def prefill(self, ids, real):
        self.real, self.cache = real, [None] * self.layers
        return self.forward(ids, np.maximum(real.cumsum(1) - 1, 0))

    def step(self, tokens):
        self.real = np.pad(self.real, ((0, 0), (0, 1)), constant_values=True)
        return self.forward(tokens[:, None], self.real.sum(1)[:, None] - 1)

    def forward(self, ids, positions):
        weights, (rows, columns) = self.weights, ids.shape
        x = weights["wte.weight"][ids] + weights["wpe.weight"][positions]
        seen = np.tri(columns, self.real.shape[1], self.real.shape[1] - columns, dtype=bool) & self.real[:, None, :]
        hidden = np.where(seen, 0, -1e30).astype(np.float32)[:, None]
        for layer in range(self.layers):
            qkv = self.linear(self.norm(x, f"h.{layer}.ln_1"), f"h.{layer}.attn.c_attn")
            q, k, v = np.moveaxis(qkv.reshape(rows, columns, 3, self.heads, -1), (2, 3), (0, 2))
            if self.cache[layer]:
                k, v = (np.concatenate(both, 2) for both in zip(self.cache[layer], (k, v), strict=True))
            self.cache[layer] = (k, v)
            scores = q @ k.swapaxes(-1, -2) / np.float32(np.sqrt(q.shape[-1])) + hidden
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            mixed = (scores / scores.sum(-1, keepdims=True)) @ v
            x = x + self.linear(mixed.swapaxes(1, 2).reshape(rows, columns, -1), f"h.{layer}.attn.c_proj")
            up = self.linear(self.norm(x, f"h.{layer}.ln_2"), f"h.{layer}.mlp.c_fc")
            up = up * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (up + np.float32(0.044715) * up**3))) / 2
            x = x + self.linear(up, f"h.{layer}.mlp.c_proj")
        return self.norm(x[:, -1], "ln_f") @ weights["wte.weight"].T

    def linear(self, x, name):
        return x @ self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def norm(self, x, name):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(1e-5))
        return x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def unload(self):
        self.weights = self.cache = self.real = None

    def placed(self):
        kinds = {type(tensor).__name__ for tensor in (*self.weights.values(), *self.cache[0])}
        if kinds != {"ndarray"}:
            return None, {}
        # numpy knows no other place than the host's memory.
        return "cpu", {"weights and cache": f"{len(self.weights)} and {2 * self.layers} numpy arrays in host memory"}


if __name__ == "__main__":
    serve(Toy())
