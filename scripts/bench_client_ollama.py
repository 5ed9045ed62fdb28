#!/usr/bin/env python3
"""What our Ollama client adds to a server's times: how late it sees lines, and the processor time it takes.

The server is the tests' stand-in, whose tokens come at a scripted pace and which stamps its first and its last line on
the machine's monotonic clock right before it hands them to the socket. The client stamps lines when it has them.
"""

import argparse
import json
import statistics
import subprocess

# Milliseconds between tokens: a small model on a processor, and one on a fast device.
PACES_US = [5000, 1000]
GOAL_MS, GOAL_CPU = 0.3, 2.0
# The first calls of a process fault its memory in and open the connection.
SKIPPED = 3


def measure(standin, client, pace_us, arguments):
    steps = str(arguments.tokens - 1)
    server = subprocess.Popen([standin, "--steps", steps, "--step-us", str(pace_us), "--prefill-us", "50"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip()
        calls = str(arguments.calls + SKIPPED)
        command = [client, url, "--calls", calls, "--tokens", str(arguments.tokens)]
        answers = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    finally:
        server.stdin.close()
        server.wait()
    return [json.loads(answer) for answer in answers[SKIPPED:]]


def report(pace_us, answers):
    def late(line):
        return statistics.median(call[f"client_{line}_ns"] - call[f"server_{line}_ns"] for call in answers) / 1e6

    def cell(value, goal, digits):
        return f"{value:.{digits}f} ({'≤' if value <= goal else '>'} {goal:g})"

    cpu = 100 * sum(call["cpu_ns"] for call in answers) / sum(call["wall_ns"] for call in answers)
    cells = [f"{pace_us / 1000:g}", cell(late("first"), GOAL_MS, 3), cell(late("last"), GOAL_MS, 3),
             cell(cpu, GOAL_CPU, 2), str(len(answers))]
    print("|", " | ".join(cells), "|", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("standin")
    parser.add_argument("client")
    parser.add_argument("--calls", type=int, default=30)
    parser.add_argument("--tokens", type=int, default=128)
    arguments = parser.parse_args()
    print(f"Calls of {arguments.tokens} tokens to a stand-in server. Lateness: median of when the client had a line "
          "minus when the server sent it. In brackets the goals.\n")
    print("| ms per token | first line late, ms | last line late, ms | client's processor time, % of a core | calls |")
    print("|---|---|---|---|---|", flush=True)
    for pace_us in PACES_US:
        report(pace_us, measure(arguments.standin, arguments.client, pace_us, arguments))


if __name__ == "__main__":
    main()
