"""Door `weights`: the image networks that policies see through; imports those that others publish."""

import argparse
import hashlib
from contextlib import closing
from pathlib import Path

from robostack.core.errors import RobostackError
from robostack.learn import trunks
from robostack.store.disk import explained
from robostack.store.exchange import pickles

# Of https://github.com/rail-berkeley/serl/releases/download/resnet10/resnet10_params.pkl, 21 677 915 bytes. SERL gives
# no checksum; projects that use the file agree on this one (docs/decisions/0015-weights-of-others.md).
PUBLISHED = {"resnet10": "175745d43d30233eb01b5369465d1c24c11b8ee71ccb734cc1c1bca13e07f57b"}
UNUSED = {
    "resnet10": "output_head/"
}  # the classifier that it was trained with, behind the feature map


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 when `list` found a damaged file."""
    parser = argparse.ArgumentParser(prog="robostack weights", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    words = "what is there, with hash and size"
    verbs.add_parser("list", help=words, description=words).set_defaults(do=_list)
    words = "takes over a published file of weights; nothing in it is run, nothing is downloaded"
    into = verbs.add_parser("import", help=words, description=words)
    into.add_argument("file", type=Path, metavar="FILE", help="resnet10_params.pkl of SERL")
    into.add_argument("--name", choices=list(PUBLISHED), default="resnet10", help="its network")
    into.set_defaults(do=_import)
    arguments = parser.parse_args(argv)
    return arguments.do(arguments)


def _list(_: argparse.Namespace) -> int:
    status = 0
    for name in trunks.NETS:
        path = trunks.path_of(name)
        if not path.is_file():
            print(f"{name:<10}not there: {trunks.NETS[name][1]}")
            continue
        try:
            labels, arrays = trunks.read(path)
            trunks.check(name, arrays, str(path))
        except RobostackError as error:
            status = 1
            print(f"{name:<10}{error}")
            continue
        count = sum(array.size for array in arrays.values())
        print(f"{name:<10}{labels['sha256']}  {count:,} weights, {_megabytes(path)}, {path}")
        if labels["source"]:
            print(f"{'':<10}{labels['source']}")
    return status


def _import(arguments: argparse.Namespace) -> int:
    source, name = arguments.file, arguments.name
    with closing(pickles.read(source, "weights")) as frames:
        found = next(frames)
    sha256 = _sha256(source)
    print(f"read     {source}: {len(found)} arrays, {_megabytes(source)}, sha256 {sha256}")
    if sha256 != PUBLISHED[name]:
        print(f"note: the file that SERL publishes has sha256 {PUBLISHED[name]}")
    used = {f"params/{n}": a for n, a in found.items() if not n.startswith(UNUSED[name])}
    trunks.check(name, used, str(source))
    path = trunks.path_of(name)
    before = _hash_at(path)
    ours = trunks.save(path, name, used, f"from a pickle with sha256 {sha256}")
    print(f"written  {path}: {len(used)} arrays, {_megabytes(path)}, hash {ours}")
    if left := len(found) - len(used):
        print(f"note: {left} arrays of {UNUSED[name]} left out; nothing here uses that classifier")
    if before and before != ours:
        print(f"note: it replaces {before}; policies trained with that one will refuse this one")
    return 0


def _hash_at(path: Path) -> str:
    """The hash of the weights there, "" where there are none that can be read."""
    try:
        return trunks.read(path)[0]["sha256"]
    except RobostackError:
        return ""


def _sha256(path: Path) -> str:
    with explained("read", path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _megabytes(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"
