"""The figures we promise, by issue: id, bar, unit, and the file that measures each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One number with its bar. Without a bar it is there for orientation and is neither met nor missed."""

    id: str  # issue, dot, row of its table; further numbers of the same row carry a letter
    figure: str
    bar: str  # ">= 95", "<= 3"; in `unit`
    unit: str
    file: str  # benchmarks/<file>.py


TWIN = "batched twin, peg_insert, 64 simulations of 50 physics steps a control step"
CAMERAS = "two 128x128 cameras rendered per step, single simulation"
STEP = "lockstep step through ROS, command out to observation in"
REAL = "real time at 10 Hz with the learner training on the same cores"
LEARNER = "learner steps/s, 2 critics (256, 256), batch 256, sampling included"
CHECKPOINT = "learner steps/s while checkpoints are written"
PIXELS = "transitions of two 128x128x3 cameras"
GYM_HIL = "gym-hil 0.1.14 PandaPickCubeBase-v0"
LOOKING = "critic updates/s from two 128x128 cameras, features kept"
STATE = "learner steps/s on numbers, 2 critics (256, 256), batch 256"
BUDGET = "the same steps of a person, 3 tasks, 5 seeds, IQM"
CROPS = "versions kept of each picture, two 128x128 cameras, shipped trunk"
TRUNK = "the hole in the tool frame, read by a straight line from one 128x128 picture's features, peg_insert as built"
ACTION = "an action by the actor, alone or exploring, the dearer of both, 99th percentile"
PICK = "pick_place with a learned gripper, from numbers, mirror in the process"
KILLS = "120 kills of actor, courier, server and learner"
JUDGED = (
    "success classifier, two 128x128 cameras, shipped trunk, 100 fresh episodes full of near misses"
)
OFFLINE = "from a mixed log alone, 3 of 10 episodes good, success on two-link and peg_insert, mean of 5 seeds each"
PEG, REACH = f"{JUDGED}: peg_insert", f"{JUDGED}: reach"

FIGURES = (
    Figure(
        "A.1",
        "autonomous success after `make demo`, 100 fresh episodes, deterministic, nobody helps; worst seed of 3",
        ">= 95",
        "of 100",
        "demo",
    ),
    Figure("A.2", "wall time of the demo's training; slowest seed of 3", "<= 10", "min", "demo"),
    Figure("A.3", f"{TWIN}: control steps/s against {GYM_HIL}, same run", ">= 30", "x", "batch"),
    Figure("A.3b", f"{TWIN}: against bare mj_step on as many threads", ">= 0.9", "x", "batch"),
    Figure("A.3c", f"{TWIN}: control steps/s", "", "1/s", "batch"),
    Figure("A.4", f"{CAMERAS}, against {GYM_HIL} with images, same run", ">= 50", "x", "render"),
    Figure("A.4b", f"{CAMERAS}: control steps/s", "", "1/s", "render"),
    Figure("A.5", f"{STEP}: median", "<= 3", "ms", "lockstep"),
    Figure("A.5b", f"{STEP}: 90th percentile", "", "ms", "lockstep"),
    Figure("A.5c", f"{STEP}: 99th percentile", "", "ms", "lockstep"),
    Figure("A.6", f"{REAL}: tick lateness, 99th percentile", "<= 20", "ms", "realtime"),
    Figure("A.6b", f"{REAL}: observation age, 99th percentile", "<= 40", "ms", "realtime"),
    Figure("A.6c", f"{REAL}: learner steps/s meanwhile", "", "1/s", "realtime"),
    Figure("A.7", f"{LEARNER}, against a bare jitted update, same run", ">= 0.85", "x", "learner"),
    Figure("A.7b", LEARNER, "", "1/s", "learner"),
    Figure("A.8", "`make test`, set-up done", "<= 12", "min", "tests_time"),
    Figure(
        "B.1",
        f"{KILLS}: steps lost of those that were written",
        "<= 0",
        "steps",
        "faults",
    ),
    Figure("B.1b", f"{KILLS}: steps lost in flight, most of one kill", "<= 1", "steps", "faults"),
    Figure("B.1c", f"{KILLS}: steps written", "", "steps", "faults"),
    Figure(
        "B.2",
        f"{KILLS}: transitions wrong (pictures, action, next, flags), by an oracle",
        "<= 0",
        "transitions",
        "faults",
    ),
    Figure("B.2b", f"{KILLS}: transitions checked", "", "transitions", "faults"),
    Figure(
        "B.3",
        "runs killed at random moments and resumed that end bit-equal to the uninterrupted one",
        ">= 20",
        "of 20",
        "resume",
    ),
    Figure(
        "B.3b", f"{CHECKPOINT}, one a second, against none, same run", ">= 0.95", "x", "checkpoint"
    ),
    Figure("B.3c", "what a checkpoint holds training up: longest", "", "ms", "checkpoint"),
    Figure("B.4", f"{PIXELS} read from disk into the replay memory", ">= 3000", "1/s", "ingest"),
    Figure("B.4b", f"{PIXELS} written to disk, a step at a time", "", "1/s", "ingest"),
    Figure(
        "B.5",
        "resident memory per stored transition, against its raw uint8 frames counted once",
        "<= 1.05",
        "x",
        "ingest",
    ),
    Figure(
        "B.6",
        f"`robostack learn` on a run with 50,000 {PIXELS} to its first update",
        "<= 25",
        "s",
        "refill",
    ),
    Figure(
        "B.7",
        "what store takes of a tick, two cameras, while the link breaks and checkpoints are written: 99.9th percentile",
        "<= 5",
        "ms",
        "stall",
    ),
    Figure("B.7b", "the longest of these ticks", "", "ms", "stall"),
    Figure(
        "B.8",
        f"{PIXELS} over the link on loopback, TLS and token, durable at the receiver",
        ">= 500",
        "1/s",
        "link",
    ),
    Figure(
        "B.8b", "a version of 5 MB: published to whole at the actor, longest", "<= 0.3", "s", "link"
    ),
    Figure(
        "B.9",
        "memory growth over 60 minutes at work, of the process that grows most; after 15 min",
        "<= 1",
        "%",
        "soak",
    ),
    Figure("B.9b", "most threads or descriptors that a process gained meanwhile", "", "", "soak"),
    Figure(
        "B.10", "bytes made up by atheris, given to every parser", ">= 1000000", "inputs", "fuzz"
    ),
    Figure(
        "B.10b", "of those, answered by anything but what is documented", "<= 0", "inputs", "fuzz"
    ),
    Figure("C.1", f"{LOOKING}: shipped trunk, batch 64", ">= 80", "1/s", "pixels"),
    Figure("C.1b", f"{LOOKING}: shipped trunk, batch 256", ">= 30", "1/s", "pixels"),
    Figure("C.1c", f"{LOOKING}: ResNet-10, batch 64", ">= 35", "1/s", "pixels"),
    Figure("C.1d", f"{LOOKING}: ResNet-10, batch 256", ">= 9", "1/s", "pixels"),
    Figure(
        "C.1e", "a frame of two cameras into memory, 4 crops: shipped trunk", "", "ms", "pixels"
    ),
    Figure("C.1f", "a frame of two cameras into memory, 4 crops: ResNet-10", "", "ms", "pixels"),
    Figure(
        "C.2",
        f"{STATE}, against a loop built as the reference builds it, same run",
        ">= 1.5",
        "x",
        "state_learner",
    ),
    Figure("C.2b", STATE, "", "1/s", "state_learner"),
    Figure("C.2c", f"{STATE}: the reference's way", "", "1/s", "state_learner"),
    Figure(
        "C.4",
        "peg_insert from two cameras, hole pose not observed: 100 fresh episodes alone; worst seed of 5",
        ">= 90",
        "of 100",
        "see",
    ),
    Figure("C.4b", "the same: wall time of its training; slowest seed", "<= 40", "min", "see"),
    Figure("C.6", f"{BUDGET}: success over HG-DAgger", ">= 20", "points", "human_budget"),
    Figure("C.6b", f"{BUDGET}: success over BC", ">= 20", "points", "human_budget"),
    Figure("C.6c", f"{BUDGET}: cycle time over HG-DAgger's", "<= 0.6", "x", "human_budget"),
    Figure("C.6d", f"{BUDGET}: cycle time over BC's", "<= 0.6", "x", "human_budget"),
    Figure("C.6e", "what the person gave in each of these runs", "", "steps", "human_budget"),
    Figure(
        "C.7",
        "two-link cell: Jump-Start with a 75 % script, above its data in the replay only, above neither",
        ">= 5",
        "of 5 seeds",
        "jump_start",
    ),
    Figure(
        "C.7b", "success of the policy alone, Jump-Start, interquartile mean", "", "%", "jump_start"
    ),
    Figure("C.7c", "the same, the script's data in the replay only", "", "%", "jump_start"),
    Figure("C.7d", "the same, neither", "", "%", "jump_start"),
    Figure("C.7e", "Jump-Start above replay only, median over seeds", "", "points", "jump_start"),
    Figure("C.7f", "the order of C.7 over the middle third", "", "of 5 seeds", "jump_start"),
    Figure("C.7g", "the same third: Jump-Start, interquartile mean", "", "%", "jump_start"),
    Figure("C.7h", "the same third: the script's data in the replay only", "", "%", "jump_start"),
    Figure(
        "C.8",
        "two-link cell, changed: a mirror's policy warm-started, never below 0.85 of zero-shot and above it at the end",
        ">= 4",
        "of 5 seeds",
        "warm_start",
    ),
    Figure(
        "C.8b", "gained above zero-shot at the end, interquartile mean", "", "points", "warm_start"
    ),
    Figure(
        "C.8c",
        "the same without warm-up, own rollouts, anchor and guard",
        "",
        "points",
        "warm_start",
    ),
    Figure(
        "C.5",
        f"{PICK}: autonomous success, 100 fresh episodes; interquartile mean of 5 seeds",
        ">= 95",
        "of 100",
        "pick_place",
    ),
    Figure("C.5b", f"{PICK}: lower end of its bootstrap interval", "", "of 100", "pick_place"),
    Figure(
        "C.5c", f"{PICK}: wall time of training; slowest seed of 5", "<= 15", "min", "pick_place"
    ),
    Figure(
        "C.9",
        "peg_insert, 60,000 steps: seeds of 5 whose lowest check of the last third is at least 0.9 of the best",
        ">= 5",
        "seeds",
        "stability",
    ),
    Figure(
        "C.9b", "the same: lowest of the last third over the best, worst seed", "", "", "stability"
    ),
    Figure("C.16", f"{CROPS}: a frame into memory, 1 kept", "", "ms", "crops"),
    Figure("C.16b", "the same, 4 kept (the usual choice)", "", "ms", "crops"),
    Figure("C.16c", "the same, 8 kept", "", "ms", "crops"),
    Figure(
        "C.16d",
        "peg_insert cloned from two cameras, 1 kept; mean of 3 seeds",
        "",
        "of 100",
        "crops",
    ),
    Figure("C.16e", "the same, 4 kept", "", "of 100", "crops"),
    Figure("C.16f", "the same, 8 kept", "", "of 100", "crops"),
    Figure("C.16g", "100,000 frames in memory, 4 kept (spread: 1, 4, 8)", "", "GB", "crops"),
    Figure(
        "C.12",
        "two-link cell: practice in a mask around a script that succeeds (CAMEL), interquartile mean",
        "",
        "%",
        "mask",
    ),
    Figure("C.12b", "the same without a mask", "", "%", "mask"),
    Figure("C.12c", "its policy alone at the end", "", "%", "mask"),
    Figure("C.12d", "the same without a mask", "", "%", "mask"),
    Figure("C.12e", "furthest from the script in the first fifth", "", "of full action", "mask"),
    Figure("C.11", f"{TRUNK}: wrist camera, shipped trunk, median error", "", "mm", "trunk"),
    Figure("C.11b", f"{TRUNK}: the same, 90th percentile", "", "mm", "trunk"),
    Figure("C.11c", f"{TRUNK}: from both cameras, median", "", "mm", "trunk"),
    Figure("C.11d", f"{TRUNK}: the same network with random weights, median", "", "mm", "trunk"),
    Figure("C.11e", f"{TRUNK}: predicting the mean, median", "", "mm", "trunk"),
    Figure("C.11f", "the shipped trunk's features on one core, batches of 64", "", "1/s", "trunk"),
    Figure("C.3", f"{ACTION}: from numbers", "<= 2", "ms", "actor_inference"),
    Figure(
        "C.3b", f"{ACTION}: two 128x128 cameras, shipped trunk", "<= 15", "ms", "actor_inference"
    ),
    Figure("C.3c", f"{ACTION}: two 128x128 cameras, ResNet-10", "", "ms", "actor_inference"),
    Figure(
        "C.13", f"{PEG}: episodes called done before they were, as served", "<= 5", "%", "success"
    ),
    Figure("C.13b", f"{PEG}: successes never called", "", "%", "success"),
    Figure("C.13c", f"{PEG}: a call comes late by, mean", "", "steps", "success"),
    Figure("C.13d", f"{PEG}: frames without success that count as done", "", "%", "success"),
    Figure("C.13e", f"{PEG}: frames of success that do not", "", "%", "success"),
    Figure("C.13f", f"{PEG}: called too early without the height condition", "", "%", "success"),
    Figure(
        "C.13g", f"{PEG}: called too early by one frame, with the condition", "", "%", "success"
    ),
    Figure("C.13h", f"{PEG}: called too early by one frame, without it", "", "%", "success"),
    Figure(
        "C.13i",
        f"{PEG}: called too early by one frame, threshold calibrated on frames at the same 5 %",
        "",
        "%",
        "success",
    ),
    Figure(
        "C.14", f"{REACH}: episodes called done before they were, as served", "<= 5", "%", "success"
    ),
    Figure("C.14b", f"{REACH}: successes never called", "", "%", "success"),
    Figure("C.14c", f"{REACH}: a call comes late by, mean", "", "steps", "success"),
    Figure("C.14d", f"{REACH}: frames without success that count as done", "", "%", "success"),
    Figure("C.14e", f"{REACH}: frames of success that do not", "", "%", "success"),
    Figure("C.14h", f"{REACH}: called too early by one frame", "", "%", "success"),
    Figure(
        "C.14i",
        f"{REACH}: called too early by one frame, threshold calibrated on frames at the same 5 %",
        "",
        "%",
        "success",
    ),
    Figure(
        "C.15", "a success classifier's answer, two cameras, 99th percentile", "", "ms", "success"
    ),
    Figure("C.17", f"{OFFLINE}: IQL", "", "%", "offline"),
    Figure("C.17b", f"{OFFLINE}: A2PR, alpha 2.5", "", "%", "offline"),
    Figure("C.17c", f"{OFFLINE}: A2PR, alpha 40", "", "%", "offline"),
    Figure("C.17d", f"{OFFLINE}: BC", "", "%", "offline"),
    Figure(
        "C.17e", f"{OFFLINE}: BC of the good episodes, had they been marked", "", "%", "offline"
    ),
)

BY_ID = {figure.id: figure for figure in FIGURES}
LONG = {
    "stability",
    "see",
    "demo",
    "tests_time",
    "resume",
    "refill",
    "stall",
    "faults",
    "soak",
    "fuzz",
    "pick_place",
    "success",
    "human_budget",
    "jump_start",
    "crops",
    "mask",
    "offline",
    "warm_start",
}  # files that take over two minutes


def files_of(issue: str) -> list[str]:
    """Files that measure an issue's figures, in the table's order."""
    mine = (figure for figure in FIGURES if figure.id.startswith(f"{issue}."))
    return list(dict.fromkeys(figure.file for figure in mine))


def issues() -> list[str]:
    return sorted({figure.id.partition(".")[0] for figure in FIGURES})
