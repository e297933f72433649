"""B.10: a million inputs by atheris to all that parses records and messages; each answers as documented. 13 min."""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from zlib import crc32

from benchmarks import common
from benchmarks.rows import Row, row

INPUTS = 1_000_000
PROCESSES = 2
SPOILED = 0.7  # of the inputs, by tests.faults.spoil, which mends checksums; the rest by libFuzzer
WATCHED = ["robostack.store", "robostack.core.spec", "robostack.config", "mcap"]
LONGEST = 40_000  # bytes


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--inputs", type=int, default=INPUTS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=Path, help="a folder for inputs that show a finding")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)  # we are one of the processes


def measure(given: argparse.Namespace) -> list[Row]:
    """Prints coverage and every finding with the input that shows it."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        works = [Path(folder) / str(number) for number in range(PROCESSES)]
        processes = [_start(given, work, number) for number, work in enumerate(works)]
        for process in processes:
            process.wait()
        outputs = [(work / "said.txt").read_text() for work in works]
        seconds = time.monotonic() - begun
        told = [json.loads((work / "told.json").read_text()) for work in works]
    for output, process in zip(outputs, processes, strict=True):
        if process.returncode:
            raise SystemExit(f"a fuzzer ended with status {process.returncode}: {output[-2000:]}")
        coverage = re.findall(r"cov: (\d+) ft: (\d+) corp: (\S+)", output)
        print(f"edges, features, corpus: {' '.join(coverage[-1]) if coverage else 'not told'}")
    count = sum(each["inputs"] for each in told)
    findings = {key: line for each in told for key, line in each["findings"].items()}
    parsers = {name: sum(each["parsers"][name] for each in told) for name in told[0]["parsers"]}
    print(f"{count} inputs in {seconds:.0f} s, {count / seconds:.0f}/s: {parsers}")
    for number, (key, (line, data)) in enumerate(findings.items()):
        print(f"finding {number}: {key}: {line}; {len(data) // 2} bytes from {data[:40]}")
        if given.findings:
            given.findings.mkdir(parents=True, exist_ok=True)
            (given.findings / f"{number}.bin").write_bytes(bytes.fromhex(data))
    wrong = sum(each["wrong"] for each in told)
    return [row("B.10", count), row("B.10b", wrong, failed=count < INPUTS)]


def _start(given: argparse.Namespace, work: Path, number: int) -> subprocess.Popen:
    work.mkdir()
    share = -(-given.inputs // PROCESSES)
    words = ["--inputs", str(share), "--seed", str(given.seed * PROCESSES + number)]
    command = [sys.executable, "-m", "benchmarks.fuzz", *words, "--work", str(work)]
    with open(work / "said.txt", "w") as said:
        return subprocess.Popen(command, stdout=said, stderr=said)


def work(given: argparse.Namespace) -> None:
    """One fuzzer, until its inputs are used up; libFuzzer ends the process."""
    try:
        import atheris
    except ImportError:
        raise SystemExit("no atheris: pip install 'robostack[dev]' (x86-64 only)") from None
    with atheris.instrument_imports(include=WATCHED):
        from tests.faults.parsers import PARSERS

    told = {"inputs": 0, "wrong": 0, "findings": {}, "parsers": {p.name: 0 for p in PARSERS}}

    def one(data: bytes) -> None:
        told["inputs"] += 1
        if len(data) > 1:
            parser = PARSERS[data[0] % len(PARSERS)]
            told["parsers"][parser.name] += 1
            try:
                parser.try_out(data[1:])
            except Exception as error:
                told["wrong"] += 1
                where = error.__traceback__
                while where and where.tb_next:
                    where = where.tb_next
                line = f"{parser.name}: {type(error).__name__} at line {where and where.tb_lineno}"
                told["findings"].setdefault(line, (f"{error!s:.200}", data[1:].hex()))
        if told["inputs"] in (given.inputs, given.inputs // 2):
            (given.work / "told.json").write_text(json.dumps(told))

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if len(data) < 2 or rng.random() > SPOILED:
            return atheris.Mutate(data, most)
        if rng.random() < 0.02:  # a fresh start
            number = rng.randrange(len(PARSERS))
            data = bytes([number]) + rng.choice(PARSERS[number].seeds())
        return (data[:1] + PARSERS[data[0] % len(PARSERS)].spoil(data[1:], rng))[:most]

    corpus = given.work / "corpus"
    corpus.mkdir()
    for number, parser in enumerate(PARSERS):
        for seed in parser.seeds():
            (corpus / f"{crc32(seed):08x}-{number}").write_bytes(bytes([number]) + seed)
    flags = [f"-runs={given.inputs}", f"-max_len={LONGEST}", f"-seed={given.seed}", "-timeout=300"]
    os.chdir(given.work)
    tempfile.tempdir = str(given.work)  # libFuzzer ends us without a chance to clean up
    atheris.Setup([sys.argv[0], *flags, str(corpus)], one, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    if "--work" in sys.argv:
        parser = argparse.ArgumentParser()
        arguments(parser)
        work(parser.parse_args())
    else:
        raise SystemExit(common.main(__doc__, measure, arguments))
