"""Learning in a process of its own: it ends a minute after it last learnt, so that no process that answers holds scikit-learn.

Parent and child send each other arrays (`numpy.savez`) led in by their length. One task is learnt at a time; a call that is given up
takes the child along. This module is also the program of the child: `python -m services.tagging.adapters.trainer`.
"""

import asyncio
import io
import os
import select
import subprocess
import sys
import warnings
from collections.abc import Mapping
from threading import Lock
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

MOST_ITERATIONS: Final = 500
HOLDOUT: Final = 0.2
LARGEST_SILHOUETTE: Final = 2_000
"""Customers of the sample the silhouette is worked out on: it takes the square of them."""
FEWEST, MOST = 2, 12
IDLE_SECONDS: Final = 60.0
_BEGINNINGS: Final = 10
_MODULE: Final = "services.tagging.adapters.trainer"
_LENGTH: Final = 8


class TrainingFailedError(Exception):
    """The child ended without an answer."""


class Trainer:
    """Has a child while there is something to learn. Any thread may ask."""

    def __init__(self) -> None:
        self._turn = Lock()
        self._child: subprocess.Popen[bytes] | None = None

    async def learn(self, task: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """What the child makes of `arrays`; `task` is "tell_apart" or "cluster". Raises TrainingFailedError."""
        asked = asyncio.ensure_future(asyncio.to_thread(self._ask, {"task": np.array(task), **arrays}))
        asked.add_done_callback(
            lambda it: it.cancelled() or it.exception()
        )  # nobody may be there any more to hear of it
        try:
            return await asyncio.shield(asked)
        except asyncio.CancelledError:
            self.stop()
            raise

    def stop(self) -> None:
        """End the child, whatever it does."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()

    def _ask(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        request = _packed(arrays)
        with self._turn:
            before = self._child
            child = self._started() if before is None or before.poll() is not None else before
            answer = self._exchange(child, request)
            if answer is None and child is before is self._child:  # it ended for want of work just then
                answer = self._exchange(self._started(), request)
        if answer is None:
            raise TrainingFailedError
        return _unpacked(answer)

    def _started(self) -> "subprocess.Popen[bytes]":
        path = os.pathsep.join(it for it in sys.path if it)
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # sums in any other order are other sums
        self._child = subprocess.Popen(
            [sys.executable, "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, **one_thread},
        )
        return self._child

    @staticmethod
    def _exchange(child: "subprocess.Popen[bytes]", request: bytes) -> bytes | None:
        """The answer; None if the child is gone."""
        if child.stdin is None or child.stdout is None:
            return None
        try:
            _write(child.stdin, request)
            return _read(child.stdout)
        except BrokenPipeError:
            return None


def tell_apart(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """Logistic regression of `label` (1 for the seed) on the rows of `features`, drawn by `random_seed`.

    A fifth is held out, of both kinds alike. Weights are per standard deviation; `mean` and `scale` say what that is of.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    features, label = arrays["features"].astype(np.float64), arrays["label"]
    train, held, train_label, held_label = train_test_split(
        features, label, test_size=HOLDOUT, stratify=label, random_state=int(arrays["random_seed"])
    )
    scaler = StandardScaler().fit(train)
    model = LogisticRegression(max_iter=MOST_ITERATIONS, class_weight="balanced")
    model.fit(scaler.transform(train), train_label)
    auc = roc_auc_score(held_label, model.decision_function(scaler.transform(held)))
    return {
        "mean": scaler.mean_,
        "scale": scaler.scale_,
        "weights": model.coef_[0],
        "intercept": model.intercept_[0],
        "auc": np.array(auc),
        "holdout": np.array(len(held)),
    }


def cluster(arrays: Arrays) -> dict[str, NDArray[Any]]:
    """k-means++ on the standardised rows of `features`: so many `clusters`, or with 0 as many as the silhouette is highest for.

    No centres where the rows do not differ in as many ways.
    """
    from sklearn.metrics import silhouette_score
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(arrays["features"].astype(np.float64))
    points = scaler.transform(arrays["features"].astype(np.float64))
    seed, wanted = int(arrays["random_seed"]), int(arrays["clusters"])
    different = len(np.unique(points, axis=0))
    best: tuple[float, NDArray[Any]] | None = None
    for count in (wanted,) if wanted else range(FEWEST, MOST + 1):
        if count > different:
            break
        model = _fitted(points, count, seed)
        judged = slice(0, LARGEST_SILHOUETTE)
        labels = model.labels_[judged]
        fit = -1.0 if len(set(labels)) in (1, len(labels)) else float(silhouette_score(points[judged], labels))
        if best is None or fit > best[0]:
            best = fit, model.cluster_centers_
    fit, centres = best or (-1.0, np.empty((0, points.shape[1])))
    return {"mean": scaler.mean_, "scale": scaler.scale_, "centres": centres, "silhouette": np.array(fit)}


def _fitted(points: NDArray[Any], count: int, seed: int) -> Any:
    from sklearn.cluster import KMeans

    return KMeans(count, init="k-means++", n_init=_BEGINNINGS, random_state=seed).fit(points)


def _packed(arrays: Arrays) -> bytes:
    out = io.BytesIO()
    np.savez(out, allow_pickle=False, **arrays)
    return out.getvalue()


def _unpacked(answer: bytes) -> dict[str, NDArray[Any]]:
    with np.load(io.BytesIO(answer), allow_pickle=False) as found:
        return dict(found)


def _write(to: IO[bytes], message: bytes) -> None:
    to.write(len(message).to_bytes(_LENGTH, "big"))
    to.write(message)
    to.flush()


def _read(source: IO[bytes]) -> bytes | None:
    """The next message; None where there is none any more."""
    length = source.read(_LENGTH)
    if len(length) < _LENGTH:
        return None
    message = source.read(int.from_bytes(length, "big"))
    return message if len(message) == int.from_bytes(length, "big") else None


def main() -> None:
    """Learn what is asked for, until nobody asks."""
    warnings.simplefilter("ignore")
    tasks = {"tell_apart": tell_apart, "cluster": cluster}
    asking, answers = sys.stdin.buffer, sys.stdout.buffer
    while select.select([asking], [], [], IDLE_SECONDS)[0]:
        request = _read(asking)
        if request is None:
            return
        arrays = _unpacked(request)
        _write(answers, _packed(tasks[str(arrays["task"])](arrays)))


if __name__ == "__main__":
    main()
