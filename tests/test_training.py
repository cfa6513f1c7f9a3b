"""The loop on a small task: it learns, resumes to equal bytes, and says what is wrong with a run folder."""

import errno
import json
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from jerboa.audio.frontend import FrontendSpec
from jerboa.errors import JerboaError
from jerboa.models import build
from jerboa.recipe import parse_recipe
from jerboa.training import checkpoint, trainer
from jerboa.training.data import Batches, Dataset, Features, frontend_of, load_data
from jerboa.training.loop import Phase, evaluate, fit, learning_rate, predict, teach
from jerboa.training.trainer import train

torch.set_num_threads(1)


def recipe(**sections):
    values = {
        "corpus": {"words": ["left", "right"]},
        "augment": {"copies": 1, "warp": 0.0},
        "model": {"name": "temporal", "options": {"channels": 8, "kernels": [5], "stem": [4, 4, 4]}},
        "training": {"epochs": 3, "batch_size": 32, "learning_rate": 1e-2, "ema": 0.9},
        "quantization": {"qat_epochs": 1, "calibration_clips": 64},
    }
    for name, keys in sections.items():
        values[name] = {**values.get(name, {}), **keys}
    return parse_recipe(values, "test")


def patterns(count, seed):
    """int8 clips [count, 49, 40] of four classes told apart by where a loud band moves to, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(4, size=count)
    values = rng.normal(-40, 12, (count, 49, 40))
    for clip, label in zip(values, labels):
        start, place = rng.integers(5, 25), rng.integers(8, 30)
        for frame in range(16):
            move = {0: frame // 3, 1: -(frame // 3), 2: 0}.get(int(label))
            if move is not None:
                clip[start + frame, (place + move) % 40] += 90
    return np.clip(values, -128, 127).astype(np.int8), labels.astype(np.int64)


@pytest.fixture(scope="module")
def data():
    return dataset(224)


def dataset(count):
    spec = FrontendSpec()
    sets = [Features(*patterns(count, seed), spec.scale, spec.zero_point) for count, seed in ((count, 1), (96, 2), (96, 3))]
    labels = ("left", "right", "unknown", "silence")
    copies = (sets[0].values, np.roll(sets[0].values, 2, axis=1))
    return Dataset(spec, labels, copies, sets[0].labels, sets[1], sets[2], "patterns")


class Killed(Exception):
    """Stands for a kill between two epochs."""


def kill_after(monkeypatch, saves):
    real, count = checkpoint.save, 0

    def save(*arguments):
        nonlocal count
        real(*arguments)
        count += 1
        if count == saves:
            raise Killed

    monkeypatch.setattr(checkpoint, "save", save)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values()))


def test_a_network_learns_and_stays_the_same_in_int8(tmp_path):
    data = dataset(600)
    trained = train(recipe(training={"epochs": 10}), data, tmp_path)
    accuracy, _ = evaluate(trained.float_module, data.test)
    rounded, _ = evaluate(trained.quantized, data.test)
    assert accuracy > 0.85
    assert abs(accuracy - rounded) < 0.04
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["phase"] for line in lines] == ["float"] * 10 + ["int8"]
    assert lines[9]["loss"] < lines[0]["loss"] and lines[9]["validation_accuracy"] > lines[0]["validation_accuracy"]


RESUMED = recipe(quantization={"qat_epochs": 2}, training={"mixup": 0.2})


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    return train(RESUMED, data, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("saves", [2, 3, 5], ids=["within a phase", "between phases", "in the second phase"])
def test_a_killed_run_goes_on_to_the_same_bytes(data, whole, tmp_path, monkeypatch, saves):
    setting = RESUMED
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, saves)
        train(setting, data, tmp_path / "killed")
    resumed = train(setting, data, tmp_path / "killed")
    assert same(whole.float_module, resumed.float_module) and same(whole.quantized, resumed.quantized)
    lines = [json.loads(line) for line in (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()]
    assert [(line["phase"], line["epoch"]) for line in lines] == [("float", e) for e in (1, 2, 3)] + [("int8", 1), ("int8", 2)]


def test_a_teacher_is_trained_first_and_taught_from(data, tmp_path):
    plain = train(recipe(), data, tmp_path / "plain")
    lesson = {"epochs": 2, "options": {"channels": 12, "kernels": [5], "stem": [6, 6, 6]}}
    taught = train(recipe(distillation=lesson), data, tmp_path / "taught")
    assert [line["phase"] for line in taught.history] == ["teacher"] * 2 + ["float"] * 3 + ["int8"]
    assert not same(plain.float_module, taught.float_module)
    resumed = train(recipe(distillation=lesson), data, tmp_path / "taught")
    assert same(taught.quantized, resumed.quantized)


def test_a_teachers_posteriors_pull_the_pupil(data, tmp_path):
    """A teacher that says 'left' to everything and has the whole loss makes a pupil that says so too."""

    class Stubborn(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.logits = torch.nn.Parameter(torch.tensor([20.0, 0.0, 0.0, 0.0]))

        def forward(self, x):
            return self.logits.expand(len(x), 4)

    lesson = teach(Stubborn(), data, 1.0, 2.0, torch.device("cpu"))
    assert lesson.posteriors.shape == (2, 224, 4) and lesson.posteriors[..., 0].min() > 0.99
    torch.manual_seed(0)
    pupil = build("temporal", 49, 40, 4, recipe().model.options)
    phase = Phase("float", 2, 1e-2, 0.0, 0.0, "cosine", 0.0, lesson=lesson)
    batches = Batches(data, recipe().augment, 32, 1)
    fit(pupil, phase, batches, data.validation, torch.device("cpu"), lambda _: None, lambda _: None, lambda: None)
    assert (predict(pupil, data.test).argmax(1) == 0).mean() > 0.9


def test_a_finished_run_is_not_trained_again(data, tmp_path, monkeypatch):
    first = train(recipe(), data, tmp_path)
    monkeypatch.setattr(trainer, "fit", None)
    assert same(first.quantized, train(recipe(), data, tmp_path).quantized)


def test_the_seed_decides(data, tmp_path):
    settings = [recipe(), recipe(), recipe().model_copy(update={"seed": 2})]
    one, two, three = (train(setting, data, tmp_path / str(n)).float_module for n, setting in enumerate(settings))
    assert same(one, two) and not same(one, three)


def test_the_best_epoch_by_validation_is_kept(data, tmp_path):
    trained = train(recipe(training={"epochs": 6}), data, tmp_path)
    best = max(line["validation_accuracy"] for line in trained.history if line["phase"] == "float")
    assert evaluate(trained.float_module, data.validation)[0] == pytest.approx(best, abs=1e-5)


def test_without_fine_tuning_the_network_is_only_quantised(data, tmp_path):
    trained = train(recipe(quantization={"qat_epochs": 0}), data, tmp_path)
    assert abs(evaluate(trained.quantized, data.test)[0] - evaluate(trained.float_module, data.test)[0]) < 0.06


@pytest.mark.parametrize("damage", ["truncated", "text", "code"])
def test_a_damaged_checkpoint_is_named_and_runs_no_code(data, tmp_path, damage):
    train(recipe(training={"epochs": 1}), data, tmp_path)
    place = tmp_path / "checkpoint.pt"
    if damage == "truncated":
        place.write_bytes(place.read_bytes()[:2000])
    elif damage == "text":
        place.write_text("hello")
    else:
        torch.save({"done": _Malicious(str(tmp_path / "ran"))}, place)
    with pytest.raises(JerboaError, match=r"checkpoint\.pt.*damaged.*delete it"):
        train(recipe(training={"epochs": 1}), data, tmp_path)
    assert not (tmp_path / "ran").exists()


class _Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_run_folder_of_another_recipe_is_refused(data, tmp_path):
    train(recipe(training={"epochs": 1}), data, tmp_path)
    with pytest.raises(JerboaError, match="another recipe"):
        train(recipe(training={"epochs": 2}), data, tmp_path)


def test_a_full_disk_is_said_and_the_last_epoch_survives(data, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(patch, 2)
        train(recipe(), data, tmp_path)
    kept = (tmp_path / "checkpoint.pt").read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(JerboaError, match="No space left on device"):
        patch.setattr(checkpoint.os, "fsync", full)
        train(recipe(), data, tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == kept
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "metrics.jsonl"]
    assert len(train(recipe(), data, tmp_path).history) == 4


def test_a_rate_that_is_too_high_is_said(data, tmp_path):
    with pytest.raises(JerboaError, match="no longer a number"):
        train(recipe(training={"learning_rate": 1e30}), data, tmp_path)


def test_a_device_that_is_not_there(data, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("a CUDA device is present")
    with pytest.raises(JerboaError, match="CUDA"):
        train(recipe(training={"device": "cuda"}), data, tmp_path)


def test_batches_are_seeded_by_epoch_and_masked(data):
    setting = recipe().augment
    batches = Batches(data, setting, 32, seed=5)
    first, again, other = (list(batches.epoch("float", number, 0.0)) for number in (0, 0, 1))
    assert all(torch.equal(a.features, b.features) for a, b in zip(first, again))
    assert not torch.equal(first[0].features, other[0].features)
    assert len(first) == len(batches) == 224 // 32
    fill = torch.tensor(batches.fill - data.spec.zero_point) * data.spec.scale
    assert torch.isclose(first[0].features, fill).all(3).any()


def test_mixup_mixes_features_and_labels_alike(data):
    batches = Batches(data, recipe(augment={"time_masks": 0, "frequency_masks": 0}).augment, 64, seed=5)
    plain, mixed = next(batches.epoch("float", 0, 0.0)), next(batches.epoch("float", 0, 0.4))
    assert torch.equal(mixed.labels, plain.labels) and (mixed.share >= 0.5).all() and (mixed.share < 1).any()
    share = mixed.share.reshape(-1, 1, 1, 1)
    assert torch.allclose(mixed.features, plain.features * share + plain.features[mixed.partner] * (1 - share))
    wanted = mixed.mixed(torch.nn.functional.one_hot(mixed.labels, 4).float())
    assert torch.allclose(wanted.sum(1), torch.ones(64)) and (wanted.max(1).values < 1).any()


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine"])
def test_the_rate_starts_as_stated_and_ends_near_zero(schedule):
    phase = Phase("float", 1, 0.1, 0.0, 0.0, schedule, 0.0)
    rates = [learning_rate(phase, step, 1000) for step in range(1000)]
    assert max(rates) == pytest.approx(0.1, rel=1e-3)
    assert rates[-1] < 1e-4
    assert rates[0] == pytest.approx(0.004 if schedule == "one-cycle" else 0.1)
    assert np.argmax(rates) == pytest.approx(250 if schedule == "one-cycle" else 0, abs=2)


@dataclass
class _Clip:
    key: str
    label: int
    seed: int


@dataclass
class _Corpus:
    """Tones and noise with the corpus' interface."""

    labels: tuple = ("left", "right", "unknown", "silence")
    fingerprint: str = "tones"
    noise: dict = field(default_factory=lambda: {"train": [np.random.default_rng(0).integers(-300, 300, 20_000).astype(np.int16)]})
    splits: dict = field(default_factory=lambda: {"train": 12, "validation": 4, "test": 4})

    def split(self, name):
        return [_Clip(f"{name}/{i}", i % 4, i) for i in range(self.splits[name])]

    def pcm(self, clip):
        t = np.arange(16000) / 16000
        rng = np.random.default_rng(clip.seed)
        return (3000 * np.sin(2 * np.pi * 300 * (clip.label + 1) * t) + rng.normal(0, 200, 16000)).astype(np.int16)


def test_features_of_a_corpus_are_cached_and_augmented(tmp_path, monkeypatch):
    setting = recipe(augment={"copies": 2})
    loaded = load_data(setting, _Corpus(), tmp_path)
    assert [copy.shape for copy in loaded.copies] == [(12, 49, 40)] * 3
    assert not any(np.array_equal(loaded.copies[0], copy) for copy in loaded.copies[1:])
    assert not np.array_equal(loaded.copies[1], loaded.copies[2])
    assert len(loaded.test) == 4 and loaded.test.real().shape == (4, 1, 49, 40)
    grid = np.round(loaded.test.real().numpy()[:, 0] / loaded.spec.scale + loaded.spec.zero_point)
    assert np.array_equal(grid.astype(np.int8), loaded.test.values)

    def computed(*_):
        raise AssertionError("the cache was not used")

    monkeypatch.setattr("jerboa.training.data.compute_features", computed)
    again = load_data(setting, _Corpus(), tmp_path)
    assert all(np.array_equal(a, b) for a, b in zip(loaded.copies, again.copies))


def test_the_recipe_overrides_single_values_of_the_networks_front_end():
    assert frontend_of(recipe()).bands == 40
    changed = frontend_of(recipe(frontend={"bands": 32}))
    assert changed.bands == 32 and changed.window == 480
    assert frontend_of(recipe(model={"name": "ds_cnn", "options": {}})).kind == "mfcc"


def test_a_split_without_clips_is_refused():
    with pytest.raises(JerboaError, match="test split"):
        load_data(recipe(), _Corpus(splits={"train": 8, "validation": 4, "test": 0}), None)
