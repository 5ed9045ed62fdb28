#!/usr/bin/env python3
"""Holds the reference kernels against other programs: memory against another tool's best, compute against the peak.

    scripts/verify_machine.py PHASEBENCH [--threads N] [--rounds N] [--flops-per-cycle N]

Memory is read by the PyPI package llama-roofline (installed into a folder that is removed at the end) and by a small C
program that is written and compiled here, in rounds that take turns with `phasebench machine`, so that all see the same
machine. The peak of compute is the clock, told by a chain of additions of one cycle each, times the operations per
cycle of this kind of processor. Wants a quiet machine, gcc and pip. Exits with 1 if memory is more than 5 % below the
best of the others, or compute is below 85 % of the peak.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = "llama-roofline"
MEMORY_WITHIN = 0.05
COMPUTE_SHARE = 0.85

ROOFLINE = """
import json, sys
from llama_roofline import membw
threads, megabytes = int(sys.argv[1]), int(sys.argv[2])
row = membw.measure(megabytes, [threads], 9)["by_threads"][str(threads)]
print(json.dumps(max(row[kernel] for kernel in ("sum", "max", "dot"))))
"""

# Reads as STREAM writes: every thread its own part, time from the first begin to the last end.
READER = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + 1e-9 * t.tv_nsec; }

typedef struct { uint64_t *words; size_t count; pthread_barrier_t *gate; double begin, end; uint64_t seen; } part_t;

static void *read_part(void *given) {
    part_t *part = given;
    pthread_barrier_wait(part->gate);
    part->begin = now();
    uint64_t seen = 0;
    for (size_t i = 0; i < part->count; i++) seen += part->words[i];
    part->seen = seen;
    part->end = now();
    return 0;
}

int main(int argc, char **argv) {
    int threads = atoi(argv[1]);
    size_t bytes = (size_t)atol(argv[2]) << 20, each = bytes / threads / 8;
    part_t *parts = calloc(threads, sizeof *parts);
    pthread_t *started = calloc(threads, sizeof *started);
    pthread_barrier_t gate;
    pthread_barrier_init(&gate, 0, threads);
    for (int t = 0; t < threads; t++) {
        size_t length = (each * 8 + (2 << 20) - 1) / (2 << 20) * (2 << 20);
        parts[t].words = aligned_alloc(2 << 20, length);
        madvise(parts[t].words, length, MADV_HUGEPAGE);
        for (size_t i = 0; i < each; i++) parts[t].words[i] = i;
        parts[t].count = each;
        parts[t].gate = &gate;
    }
    double best = 0;
    for (int round = 0; round < 15; round++) {
        for (int t = 0; t < threads; t++) pthread_create(&started[t], 0, read_part, &parts[t]);
        for (int t = 0; t < threads; t++) pthread_join(started[t], 0);
        double begin = parts[0].begin, end = parts[0].end;
        for (int t = 1; t < threads; t++) {
            if (parts[t].begin < begin) begin = parts[t].begin;
            if (parts[t].end > end) end = parts[t].end;
        }
        double rate = (double)each * 8 * threads / (end - begin) / 1e9;
        if (rate > best) best = rate;
    }
    printf("%.3f\n", best);
}
"""

# A chain of additions that each wait for the one before: one cycle each on every processor of today.
CLOCK = r"""
#include <stdio.h>
#include <time.h>

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + 1e-9 * t.tv_nsec; }

int main(void) {
    double best = 0;
    for (int round = 0; round < 400; round++) {
        unsigned long value = 1, step = 3, count = 400000;
        double begin = now();
        for (unsigned long i = 0; i < count; i++) {
#ifdef __x86_64__
            __asm__ volatile("add %1, %0\n add %1, %0\n add %1, %0\n add %1, %0\n add %1, %0\n"
                             "add %1, %0\n add %1, %0\n add %1, %0\n add %1, %0\n add %1, %0\n"
                             : "+r"(value) : "r"(step));
#else
            __asm__ volatile("add %0, %0, %1\n add %0, %0, %1\n add %0, %0, %1\n add %0, %0, %1\n add %0, %0, %1\n"
                             "add %0, %0, %1\n add %0, %0, %1\n add %0, %0, %1\n add %0, %0, %1\n add %0, %0, %1\n"
                             : "+r"(value) : "r"(step));
#endif
        }
        double ghz = 10.0 * count / (now() - begin) / 1e9;
        if (ghz > best) best = ghz;
    }
    printf("%.4f\n", best);
}
"""


def flops_per_cycle():
    """Operations in f32 that a core of this processor begins in each cycle. None: this kind is not known here."""
    text = Path("/proc/cpuinfo").read_text()
    fields = dict(line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = fields.get("flags", "").split()
    vendor, family = fields.get("vendor_id"), int(fields.get("cpu family", 0))
    if vendor == "AuthenticAMD" and "fma" in flags:
        # Two units of 256 bits up to Zen 4, which do one multiply-add of 512 bits together; twice that from Zen 5 on.
        return 64 if family >= 26 and "avx512f" in flags else 32
    if vendor == "GenuineIntel" and "avx512f" in flags:
        return 64  # Two units of 512 bits; a few small models have one.
    if vendor == "GenuineIntel" and "fma" in flags:
        return 32
    return None


def compiled(folder, name, text):
    source, program = folder / f"{name}.c", folder / name
    source.write_text(text)
    subprocess.run(["gcc", "-O3", "-march=native", "-pthread", "-o", program, source], check=True)
    return program


def number(command):
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def other_readers(folder, threads, megabytes):
    """Commands that print GB/s, by name."""
    readers = {"C program": [compiled(folder, "reader", READER), str(threads), str(megabytes)]}
    packages = folder / "packages"
    installed = (
        subprocess.run([sys.executable, "-m", "venv", packages], capture_output=True).returncode == 0
        and subprocess.run([packages / "bin/pip", "install", "--quiet", PACKAGE], capture_output=True).returncode == 0
    )
    if installed:
        readers[PACKAGE] = [packages / "bin/python", "-c", ROOFLINE, str(threads), str(megabytes)]
    else:
        print(f"not run: {PACKAGE} cannot be installed")
    return readers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--flops-per-cycle", type=float, default=flops_per_cycle())
    args = parser.parse_args()
    ours, clocks, others, foreign = {}, [], {}, []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        clock = compiled(folder, "clock", CLOCK)
        readers = None
        for _ in range(args.rounds):
            command = [args.program, "machine", "--json", "--threads", str(args.threads)]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            foreign.append(found["foreign_cpu"] or 0.0)
            for speed in found["speeds"]:
                ours.setdefault(speed["kernel"], []).extend(speed["repetitions"])
            readers = readers or other_readers(folder, args.threads, found["buffer_bytes"] >> 20)
            for name, reader in readers.items():
                others.setdefault(name, []).append(number(reader))
            clocks.append(number([clock]))
    beside = f"other programs used up to {100 * max(foreign):.0f} % of the processors"
    print(f"{args.threads} threads, {args.rounds} rounds; {beside}")
    memory, good = max(ours["memory"]) / 1e9, True
    for name, rates in others.items():
        share = memory / max(rates)
        good &= share >= 1 - MEMORY_WITHIN
        print(f"memory: ours {memory:.2f} GB/s at best, {name} {max(rates):.2f}: {100 * share:.1f} %")
    compute, ghz = max(ours["compute"]) / 1e9, max(clocks)
    if args.flops_per_cycle is None:
        print(f"compute: {compute:.1f} GFLOP/s at {ghz:.2f} GHz; not judged: give --flops-per-cycle of this processor")
    else:
        peak = ghz * args.flops_per_cycle * args.threads
        good &= compute >= COMPUTE_SHARE * peak
        print(
            f"compute: ours {compute:.1f} GFLOP/s at best, peak {peak:.1f} at {ghz:.2f} GHz and "
            f"{args.flops_per_cycle:.0f} a cycle: {100 * compute / peak:.1f} %"
        )
    print("PASS" if good else "FAIL")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
