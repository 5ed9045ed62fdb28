#!/usr/bin/env python3
"""Checks an ONNX export against the format's own checker and a reference, on ONNX Runtime's CPU provider.

    scripts/check_onnx.py EXPORT_DIR REFERENCE.json

EXPORT_DIR holds `model.onnx`, REFERENCE.json the log-probabilities an independent implementation computed. Needs the
packages onnx, onnxruntime and numpy. Prints one line per check and exits with 1 if one fails.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

TOLERANCE = {"f32": 1e-4, "f16": 2e-2}


class Engine:
    """A session with its cache."""

    def __init__(self, path):
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 2
        self.session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.meta = self.session.get_modelmeta().custom_metadata_map
        self.dtype = np.float16 if self.meta["phasebench.dtype"] == "f16" else np.float32
        self.inside = self.meta["phasebench.arg_max"] == "inside"
        self.outputs = [o.name for o in self.session.get_outputs()]
        self.caches = [i for i in self.session.get_inputs() if i.name.startswith("past_key_values.")]

    def start(self, batch):
        """Forgets everything."""
        self.past = {
            i.name: np.zeros((batch, i.shape[1], 0, i.shape[3]), self.dtype) for i in self.caches
        }

    def step(self, ids, mask, positions):
        """Feeds ids and returns what follows: log-probabilities per row, or token ids."""
        feed = {"input_ids": ids, "attention_mask": mask, "position_ids": positions, **self.past}
        out = dict(zip(self.outputs, self.session.run(None, feed)))
        for name in self.past:
            self.past[name] = out[name.replace("past_key_values", "present")]
        if self.inside:
            return out["next_token"][:, 0]
        logits = out["logits"].astype(np.float64)[:, 0]
        shifted = logits - logits.max(axis=-1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def roll(engine, prompts, continuations):
    """Prefills left-padded prompts, then feeds the continuations; returns one result per step."""
    lengths = [len(p) for p in prompts]
    width = max(lengths)
    pads = np.array([width - n for n in lengths])[:, None]
    ids = np.array([[7] * (width - len(p)) + p for p in prompts], np.int64)
    mask = (np.arange(width)[None, :] >= pads).astype(np.int64)
    positions = np.maximum(np.arange(width)[None, :] - pads, 0)
    engine.start(len(prompts))
    results = [engine.step(ids, mask, positions)]
    for n in range(len(continuations[0]) - 1):
        mask = np.concatenate([mask, np.ones((len(prompts), 1), np.int64)], axis=1)
        token = np.array([[c[n]] for c in continuations], np.int64)
        results.append(engine.step(token, mask, width + n - pads))
    return results


def main():
    """Runs every check on one export."""
    export, reference = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    failures = 0

    def check(name, good, detail=""):
        nonlocal failures
        failures += not good
        print(f"{'ok  ' if good else 'FAIL'} {export.name}: {name} {detail}")

    onnx.checker.check_model(str(export / "model.onnx"), full_check=True)
    check("format", True)
    engine = Engine(export / "model.onnx")
    tolerance = TOLERANCE[engine.meta["phasebench.dtype"]]
    prompts = [r["prompt_ids"] for r in reference]
    tokens = [[s["token"] for s in r["steps"]] for r in reference]
    singles = [roll(engine, [p], [t]) for p, t in zip(prompts, tokens)]
    if engine.inside:
        # Half precision may choose another of two tokens that the reference has closer together than the tolerance.
        near = [
            {i for i, x in zip(s["top_ids"], s["top_logprobs"]) if s["top_logprobs"][0] - x <= 2 * tolerance}
            for r in reference for s in r["steps"]
        ]
        got = [int(step[0]) for steps in singles for step in steps]
        check("tokens", all(g in n for g, n in zip(got, near)), f"{len(got)} steps")
        sys.exit(failures > 0)

    worst = 0.0
    for r, steps in zip(reference, singles):
        for s, row in zip(r["steps"], steps):
            worst = max(worst, np.abs(row[0][s["top_ids"]] - s["top_logprobs"]).max())
    check("reference", worst <= tolerance, f"largest difference {worst:.2e}, allowed {tolerance:.0e}")

    def apart(batch, rows):
        return max(np.abs(b[i] - singles[r][n][0]).max() for n, b in enumerate(batch) for i, r in enumerate(rows))

    equal = apart(roll(engine, [prompts[0]] * 4, [tokens[0]] * 4), [0] * 4)
    check("four equal rows", equal <= tolerance, f"largest difference {equal:.2e}")
    padded = apart(roll(engine, prompts, tokens), range(len(prompts)))
    lengths = sorted({len(p) for p in prompts})
    check("padded rows", len(lengths) > 1 and padded <= tolerance, f"lengths {lengths}, {padded:.2e}")
    # The same tokens in one pass and one by one: the cache and the causal mask say the same.
    whole = roll(engine, [prompts[0] + tokens[0][:-1]], [[0]])[0][0]
    split = np.abs(whole - singles[0][-1][0]).max()
    check("one pass and step by step", split <= tolerance, f"largest difference {split:.2e}")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
