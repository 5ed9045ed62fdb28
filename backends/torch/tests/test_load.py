"""What a load leaves in memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# In a process of its own, whose memory holds nothing of other tests.
PROGRAM = """
import mmap, sys, transformers
from phasebench_torch.model import load
from phasebench_torch.settings import CompileSettings, EngineSettings
from phasebench_torch.weights import inspect

folder, loaded = sys.argv[1], sys.argv[2] == "loaded"
config = transformers.GPT2Config(n_layer=2, n_embd=256, n_head=4, vocab_size=9000, bos_token_id=0, eos_token_id=1)
transformers.GPT2LMHeadModel(config).save_pretrained(folder)
if loaded:
    settings = EngineSettings(device="cpu", dtype="f32", threads=None, compile=CompileSettings())
    model = load(inspect(folder), settings, lambda name, duration_ns: None).module
else:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True)
missing = 0
with open("/proc/self/pagemap", "rb") as pagemap:
    for weights in model.parameters():
        first = weights.data_ptr() // mmap.PAGESIZE
        last = (weights.data_ptr() + weights.numel() * weights.element_size() - 1) // mmap.PAGESIZE
        pagemap.seek(8 * first)
        entries = pagemap.read(8 * (last - first + 1))
        # The highest bit of an entry: the page is in memory.
        missing += sum(not entries[8 * page + 7] & 0x80 for page in range(last - first + 1))
print("missing", missing)
"""


def missing_pages(folder: Path, how: str) -> int:
    package = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), how],
        env={"PYTHONPATH": package, "PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout.split()[-1])


def test_a_load_ends_with_every_page_of_the_weights_in_memory(tmp_path: Path) -> None:
    assert missing_pages(tmp_path, "mapped") > 0, "a mapped file is read only where it is used"
    assert missing_pages(tmp_path, "loaded") == 0
