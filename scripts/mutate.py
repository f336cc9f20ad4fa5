"""Breaks the library by one line at a time and checks that the tests notice.

    python scripts/mutate.py            all mutations; writes the table in docs/testing.md
    python scripts/mutate.py NAME ...   these only; the other rows of the table stay

Each mutation is made in a copy of the working tree, and the tests named beside it must fail.
Before that they must all pass, so that a failure means the mutation.
"""

import argparse
import concurrent.futures
import functools
import queue
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import docs

# Copies of the tree in which mutations are tried side by side.
_JOBS = 2
ROOT = Path(__file__).resolve().parents[1]
LIBRARY = "src/headstart"
PAGE = ROOT / "docs/testing.md"
_ROW = r"^\| .* \| `.*` \| `.*` \|$"


@dataclass(frozen=True)
class Mutation:
    """One line of `file` changed from `old` to `new`, and the tests that must notice."""

    name: str
    file: str
    old: str
    new: str
    tests: str


MUTATIONS = [
    Mutation(
        "validation drawn last",
        f"{LIBRARY}/data/splits.py",
        'for part in ("valid", "train", "test")\n',
        'for part in ("train", "valid", "test")\n',
        "tests/data/test_splits.py::test_validation_comes_first_then_training_as_in_the_notebook",
    ),
    Mutation(
        "training images in the test part",
        f"{LIBRARY}/data/splits.py",
        '"train": "train", "valid": "train", "test": "test"}',
        '"train": "train", "valid": "train", "test": "train"}',
        "tests/data/test_splits.py::test_validation_comes_first_then_training_as_in_the_notebook",
    ),
    Mutation(
        "an image in two parts",
        f"{LIBRARY}/data/splits.py",
        "left = np.delete(left, chosen)",
        "left = np.delete(left, chosen[1:])",
        "tests/data/test_splits.py::test_split_shares_no_image_and_keeps_sizes_order_and_class_counts",
    ),
    Mutation(
        "stratified draw without its seed",
        f"{LIBRARY}/data/splits.py",
        'generator(seed, "split", part)',
        'generator(0, "split", part)',
        "tests/data/test_splits.py::test_stratified_draw_depends_on_its_seed_alone",
    ),
    Mutation(
        "target labels in the order of class numbers",
        f"{LIBRARY}/data/tasks.py",
        "    return tuple(numbers)",
        "    return tuple(sorted(numbers))",
        "tests/data/test_tasks.py::test_binary_labels_follow_the_order_of_the_target_classes",
    ),
    Mutation(
        "pixels divided by 256",
        f"{LIBRARY}/data/raw_data.py",
        "np.divide(images, np.float32(white)",
        "np.divide(images, np.float32(white + 1)",
        "tests/data/test_datasets.py::test_normalised_pixels_are_the_float32_nearest_to_a_255th",
    ),
    Mutation(
        "checksum of a download not compared",
        f"{LIBRARY}/data/verify.py",
        "if (has := digest.hexdigest()) != (known := file.sums[algorithm]):",
        "if not (has := digest.hexdigest()) or not (known := file.sums[algorithm]):",
        "tests/data/test_download.py::test_server_that_lies_or_fails_leaves_one_message_no_file_and_the_work_to_the_next",
    ),
    Mutation(
        "transparent pixels on black",
        f"{LIBRARY}/data/images.py",
        'layers.size, "white"',
        'layers.size, "black"',
        "tests/data/test_images.py::test_png_of_any_kind_is_what_a_viewer_shows_by_every_road",
    ),
    Mutation(
        "photographs resized by another filter",
        f"{LIBRARY}/data/images.py",
        "Resampling.BILINEAR",
        "Resampling.LANCZOS",
        "tests/data/test_images.py::test_photograph_of_another_size_is_stretched_bilinearly_by_every_road",
    ),
    Mutation(
        "photographs left on their side",
        f"{LIBRARY}/data/images.py",
        "picture = ImageOps.exif_transpose(image)",
        "picture = image",
        "tests/data/test_images.py::test_photograph_stands_upright_by_every_road",
    ),
    Mutation(
        "upper bits of deep grey cut off",
        f"{LIBRARY}/data/images.py",
        "(deep >> 8).clip(0, 255)",
        "(deep & 255)",
        "tests/data/test_images.py::test_png_of_any_kind_is_what_a_viewer_shows_by_every_road",
    ),
    Mutation(
        "unseeded draw",
        f"{LIBRARY}/core/seeds.py",
        "np.random.PCG64(sequence(seed, *names))",
        "np.random.PCG64()",
        "tests/core/test_seeds.py",
    ),
    Mutation(
        "the same order in every epoch",
        f"{LIBRARY}/core/seeds.py",
        'generator(seed, task, "order", epoch)',
        'generator(seed, task, "order")',
        "tests/core/test_seeds.py",
    ),
    Mutation(
        "newer instructions allowed",
        f"{LIBRARY}/core/runtime.py",
        '        os.environ["ONEDNN_MAX_CPU_ISA"] = _CAP\n',
        "        pass\n",
        "tests/core/test_runtime.py::test_instructions_are_capped_whatever_the_environment_says",
    ),
    Mutation(
        "ten significant digits",
        f"{LIBRARY}/core/digits.py",
        "{value:.6g}",
        "{value:.10g}",
        "tests/judging/test_scores.py::test_scores_but_for_counts_divided_by_counts_have_six_digits",
    ),
    Mutation(
        "date left in a saved model",
        f"{LIBRARY}/core/artefacts.py",
        'if key != "date_saved"',
        "if key",
        "tests/core/test_artefacts.py::test_equal_models_give_equal_files_whatever_the_day_and_the_ids",
    ),
    Mutation(
        "half-written file left behind",
        f"{LIBRARY}/core/artefacts.py",
        "        part.unlink(missing_ok=True)",
        "        pass",
        "tests/core/test_artefacts.py::test_failed_write_leaves_what_was_there_and_nothing_beside",
    ),
    Mutation(
        "queries of addresses shown",
        f"{LIBRARY}/core/masking.py",
        'return _QUERY.sub(r"\\1?***", text)',
        "return text",
        "tests/core/test_masking.py::test_credentials_and_queries_are_hidden_and_the_rest_is_shown",
    ),
    Mutation(
        "what acts left out as harmless",
        f"{LIBRARY}/core/code.py",
        '"params/fields.py": "checks',
        '"params/sections.py": "checks',
        "tests/house/test_dependencies.py::test_declared_dependencies_are_the_folders_a_stage_really_uses",
    ),
    Mutation(
        "folder that a stage uses and does not watch",
        "dvc.yaml",
        "      - src/headstart/transfer\n",
        "",
        "tests/house/test_dependencies.py::test_declared_dependencies_are_the_folders_a_stage_really_uses",
    ),
    Mutation(
        "parameter that a stage reads and does not declare",
        "dvc.yaml",
        "      - network\n      - target_training\n      - train_b\n",
        "      - network\n      - train_b\n",
        "tests/pipeline/test_parameters_read.py::test_declared_parameters_are_those_that_a_stage_really_reads[train_b]",
    ),
    Mutation(
        "test data read by a training stage",
        "stages/train_b.py",
        '"valid")',
        '"test")',
        "tests/house/test_dependencies.py::test_test_data_reaches_evaluate_alone",
    ),
    Mutation(
        "learning rate 0 accepted",
        f"{LIBRARY}/params/fields.py",
        "LearningRate = Annotated[Number, Field(gt=0,",
        "LearningRate = Annotated[Number, Field(ge=0,",
        "tests/params/test_params.py::test_refusal_names_key_value_and_what_is_allowed",
    ),
    Mutation(
        "unknown parameters accepted",
        f"{LIBRARY}/params/fields.py",
        'ConfigDict(extra="forbid"',
        'ConfigDict(extra="ignore"',
        "tests/params/test_params.py::test_unknown_and_missing_keys_are_both_named",
    ),
    Mutation(
        "doubled keys accepted",
        f"{LIBRARY}/params/yaml_text.py",
        "            if key in keys:",
        "            if None in keys:",
        "tests/params/test_params.py::test_yaml_that_readers_disagree_on_is_refused_with_its_line",
    ),
    Mutation(
        "overrides of an arm ignored",
        f"{LIBRARY}/params/sections.py",
        "return training.model_copy(update=self.model_dump(exclude_none=True))",
        "return training",
        "tests/params/test_params.py::test_override_acts_on_its_arm_alone",
    ),
    Mutation(
        "softmax over one unit as the default",
        f"{LIBRARY}/params/networks.py",
        'return "sigmoid" if classes == 2 else "softmax"',
        'return "softmax"',
        "tests/params/test_params.py::test_output_follows_the_number_of_classes",
    ),
    Mutation(
        "frozen layers that train",
        f"{LIBRARY}/params/strategies.py",
        'frozen layers",\n            from_source=True,\n            trains=(HEAD_ALONE,)',
        'frozen layers",\n            from_source=True,\n            trains=(ALL_LAYERS,)',
        "tests/learning/test_training.py::test_strategies_train_what_they_say",
    ),
    Mutation(
        "multiply-add counted once",
        f"{LIBRARY}/params/networks.py",
        "2 * inputs * units",
        "inputs * units",
        "tests/learning/test_networks.py",
    ),
    Mutation(
        "gradient of max pooling left to chance",
        f"{LIBRARY}/learning/replicas.py",
        "    if not flat:",
        "    if False:",
        "tests/learning/test_replicas.py::test_max_pooling_always_has_the_quick_gradient",
    ),
    Mutation(
        "arms that see different batches",
        f"{LIBRARY}/transfer/graft.py",
        'seed=seed, task="target")',
        'seed=seed, task="source")',
        "tests/learning/test_training.py::test_both_arms_see_the_same_batches",
    ),
    Mutation(
        "backbone that is not copied",
        f"{LIBRARY}/transfer/graft.py",
        "        graft(model, source)",
        "        pass",
        "tests/learning/test_training.py::test_strategies_train_what_they_say",
    ),
    Mutation(
        "source model that is trained along",
        f"{LIBRARY}/transfer/graft.py",
        "        graft(model, source)",
        "        model = keras.Sequential([*source.layers[:-1], model.layers[-1]])",
        "tests/learning/test_training.py::test_transfer_leaves_the_source_model_as_it_was",
    ),
    Mutation(
        "features in another order than their labels",
        f"{LIBRARY}/transfer/graft.py",
        "    return np.concatenate(parts)",
        "    return np.concatenate(parts)[::-1]",
        "tests/learning/test_training.py::test_features_computed_once_equal_training_through_the_frozen_layers",
    ),
    Mutation(
        "log loss summed in float32",
        f"{LIBRARY}/judging/scores.py",
        "return _number(math.fsum(losses) / len(losses))",
        "return _number(float(np.mean(np.float32(losses))))",
        "tests/judging/test_scores.py::test_log_loss_does_not_depend_on_the_order_of_the_images",
    ),
    Mutation(
        "unpaired log loss",
        f"{LIBRARY}/judging/scores.py",
        "variance = math.fsum((own - gain) ** 2 for own in apart) / freedom",
        "variance = float(np.var(baseline, ddof=1) + np.var(transfer, ddof=1))",
        "tests/judging/test_scores.py::test_log_loss_is_compared_image_by_image_as_a_paired_t_test_does",
    ),
    Mutation(
        "log loss gain of the other sign",
        f"{LIBRARY}/judging/scores.py",
        "[right - left for left, right in zip(baseline, transfer, strict=True)]",
        "[left - right for left, right in zip(baseline, transfer, strict=True)]",
        "tests/judging/test_scores.py::test_log_loss_is_compared_image_by_image_as_a_paired_t_test_does",
    ),
    Mutation(
        "Brier score of both classes in a binary task",
        f"{LIBRARY}/judging/scores.py",
        "range(1 if values.shape[1] == 2 else 0, values.shape[1])",
        "range(values.shape[1])",
        "tests/judging/test_scores.py::test_binary_scores_agree_with_scikit_learn",
    ),
    Mutation(
        "bins of equal width",
        f"{LIBRARY}/judging/calibration.py",
        "np.repeat(np.arange(BINS), sizes)[np.searchsorted(ascending, confidence)]",
        "(confidence * BINS).astype(int).clip(0, BINS - 1)",
        "tests/judging/test_calibration.py::test_bins_hold_equal_counts_and_their_error_is_as_defined",
    ),
    Mutation(
        "equal confidences in different bins",
        f"{LIBRARY}/judging/calibration.py",
        "[np.searchsorted(ascending, confidence)]",
        "[np.argsort(np.argsort(confidence, kind='stable'))]",
        "tests/judging/test_calibration.py::test_equal_confidences_share_a_bin",
    ),
    Mutation(
        "higher log loss taken for better",
        f"{LIBRARY}/reporting/words.py",
        "TRANSFER_BETTER if high < 0 else BASELINE_BETTER if low > 0 else None",
        "BASELINE_BETTER if high < 0 else TRANSFER_BETTER if low > 0 else None",
        "tests/reporting/test_terminal.py::test_verdict_tells_the_log_loss_where_it_says_something_else",
    ),
    Mutation(
        "swapped gain",
        f"{LIBRARY}/judging/paired.py",
        "(self.only_transfer - self.only_baseline)",
        "(self.only_baseline - self.only_transfer)",
        "tests/judging/test_verdict.py::test_a_clear_difference_is_decided_by_its_sign",
    ),
    Mutation(
        "verdict without a test",
        f"{LIBRARY}/judging/verdict.py",
        "    decided = p < alpha\n",
        "    decided = p <= 1\n",
        "tests/judging/test_verdict.py::test_a_p_value_that_is_not_below_alpha_detects_no_difference",
    ),
    Mutation(
        "one-sided test of the verdict",
        f"{LIBRARY}/judging/paired.py",
        "tails = 2 * binom.cdf(",
        "tails = binom.cdf(",
        "tests/judging/test_paired.py::test_mcnemar_gives_the_known_values",
    ),
    Mutation(
        "exact p for mid-p in the decision",
        f"{LIBRARY}/judging/verdict.py",
        "p, alpha = rounded(pairs.mid_p), rules.alpha",
        "p, alpha = rounded(pairs.exact_p), rules.alpha",
        "tests/judging/test_verdict.py::test_each_word_begins_at_its_edge_and_swapped_arms_swap_it",
    ),
    Mutation(
        "exact p for mid-p between champion and challenger",
        f"{LIBRARY}/judging/verdict.py",
        "    p = rounded(pairs.mid_p)\n    counted",
        "    p = rounded(pairs.exact_p)\n    counted",
        "tests/tracking/test_serving.py::test_champion_falls_by_the_rule_of_the_verdict",
    ),
    Mutation(
        "margin of equivalence ignored",
        f"{LIBRARY}/judging/verdict.py",
        "within = -rules.margin < low and high < rules.margin",
        "within = low <= 0 <= high",
        "tests/judging/test_verdict.py::test_each_word_begins_at_its_edge_and_swapped_arms_swap_it",
    ),
    Mutation(
        "equivalence by the interval of the report",
        f"{LIBRARY}/judging/verdict.py",
        "confidence = max(1 - 2 * alpha, 0)",
        "confidence = rules.confidence",
        "tests/judging/test_verdict.py::test_each_word_begins_at_its_edge_and_swapped_arms_swap_it",
    ),
    Mutation(
        "interval of the gain with the other sign",
        f"{LIBRARY}/judging/paired.py",
        "gain = (only_transfer - only_baseline) / total",
        "gain = (only_baseline - only_transfer) / total",
        "tests/judging/test_paired.py::test_newcombes_interval_gives_the_published_values",
    ),
    Mutation(
        "unpaired interval for paired answers",
        f"{LIBRARY}/judging/paired.py",
        "phi = np.where(scale > 0, agreed / np.maximum(scale, 1), 0)",
        "phi = 0",
        "tests/judging/test_paired.py::test_newcombes_interval_gives_the_published_values",
    ),
    Mutation(
        "correlation of the interval without its correction",
        f"{LIBRARY}/judging/paired.py",
        "np.maximum(agreed - total / 2, 0)",
        "agreed",
        "tests/judging/test_paired.py::test_newcombes_interval_gives_the_published_values",
    ),
    Mutation(
        "untrained baseline compared",
        f"{LIBRARY}/judging/verdict.py",
        '[*chain.from_iterable(defects.values()), *untrained.get("baseline", ())]',
        "[*chain.from_iterable(defects.values())]",
        "tests/judging/test_verdict.py::test_baseline_has_to_show_that_it_learned",
    ),
    Mutation(
        "skill by accuracy for skill by balanced accuracy",
        f"{LIBRARY}/judging/verdict.py",
        "skill.bound(right, total, confidence",
        "skill.bound(right.sum(keepdims=True), total.sum(keepdims=True), confidence",
        "tests/judging/test_verdict.py::test_baseline_has_to_show_that_it_learned",
    ),
    Mutation(
        "levels of the classes' limits not shared",
        f"{LIBRARY}/judging/skill.py",
        "budget = chi2.ppf(confidence, 2 * len(total)) / 2",
        "budget = -np.log(1 - confidence) * len(total) / 2",
        "tests/judging/test_skill.py::test_bound_is_above_the_true_mean_recall_in_at_most_five_percent_of_test_sets",
    ),
    Mutation(
        "winner among constant answers",
        f"{LIBRARY}/judging/verdict.py",
        "return len(np.unique(answered)) == 1",
        "return False",
        "tests/judging/test_verdict.py::test_a_degenerate_model_never_makes_a_winner",
    ),
    Mutation(
        "cost of the frozen layers left out",
        f"{LIBRARY}/judging/cost.py",
        "seen * trained + self.images * frozen for",
        "seen * trained for",
        "tests/judging/test_cost.py::test_frozen_layers_cost_one_forward_pass_an_image_with_features_computed_once",
    ),
    Mutation(
        "pixel gradient counted",
        f"{LIBRARY}/judging/cost.py",
        "(call.below >= lowest)\n",
        "(call.layer >= lowest)\n",
        "tests/judging/test_cost.py::test_full_training_costs_three_forward_passes_save_the_gradient_of_the_pixels",
    ),
    Mutation(
        "pixel gradient counted by arithmetic",
        f"{LIBRARY}/learning/calls.py",
        "Call(number, number - 1, layer.flops)",
        "Call(number, number, layer.flops)",
        "tests/learning/test_networks.py",
    ),
    Mutation(
        "pixel gradient counted in a graph",
        f"{LIBRARY}/learning/flops.py",
        "dict.fromkeys(model.inputs, -1)",
        "dict.fromkeys(model.inputs, 0)",
        "tests/learning/test_flops.py::test_any_graph_takes_what_tensorflow_computes",
    ),
    Mutation(
        "unknown layer counted as nothing",
        f"{LIBRARY}/learning/flops.py",
        "        return (None,)\n    given",
        "        return ()\n    given",
        "tests/learning/test_flops.py::test_what_cannot_be_counted_is_unknown_and_not_nothing",
    ),
    Mutation(
        "validation data scored as test data",
        "stages/evaluate.py",
        '(artefacts.read_part(PREPARED / task, "test")',
        '(artefacts.read_part(PREPARED / task, "valid")',
        "tests/pipeline/test_pipeline.py::test_record_and_answers_are_of_the_test_images",
    ),
    Mutation(
        "mistakes of one arm alone",
        f"{LIBRARY}/reporting/tables.py",
        "if len(set(answered.values())) > 1:",
        'if answered["baseline"] != answered["actual"]:',
        "tests/reporting/test_figures.py::test_mistakes_of_either_arm_are_listed_by_file_and_names",
    ),
    Mutation(
        "names of other images",
        f"{LIBRARY}/data/selection.py",
        "[names[row] for row in rows]",
        "names[: len(rows)]",
        "tests/project/test_init.py::test_mistakes_are_listed_by_the_files_that_the_test_images_were",
    ),
    Mutation(
        "headstart.lock not compared",
        f"{LIBRARY}/project/lock.py",
        "    if locked and locked.get(script.stem) != _digest(script):",
        "    if locked and locked.get(script.stem) is None:",
        "tests/project/test_installed.py::test_update_of_headstart_reruns_what_it_changes",
    ),
    Mutation(
        "runs of different models taken for one",
        f"{LIBRARY}/tracking/identity.py",
        '"model": self.model}',
        '"model": None}',
        "tests/tracking/test_tracking.py::test_another_model_or_data_or_parameter_is_another_run",
    ),
    Mutation(
        "training's key without its seed",
        f"{LIBRARY}/params/sections.py",
        'values: dict[str, Any] = {"seed": params.seed}',
        "values: dict[str, Any] = {}",
        "tests/tracking/test_past.py::test_keys_of_committed_runs_never_change",
    ),
    Mutation(
        "keys that an old commit lacks not filled in",
        f"{LIBRARY}/tracking/past.py",
        "            place.setdefault(name, value)",
        "            place.get(name, value)",
        "tests/tracking/test_past.py::test_keys_of_committed_runs_never_change",
    ),
    Mutation(
        "missing key of an old commit taken as another value",
        f"{LIBRARY}/tracking/past.py",
        '"source_training.from": None',
        '"source_training.from": "models/own/a.keras"',
        "tests/tracking/test_past.py::test_keys_of_committed_runs_never_change",
    ),
    Mutation(
        "live run begun by the clock alone",
        f"{LIBRARY}/tracking/spawn.py",
        "if left > self._long:",
        "if False:",
        "tests/tracking/test_timesheets.py::test_training_shows_itself_once_its_epochs_say_that_it_will_last",
    ),
    Mutation(
        "long first epoch unseen",
        f"{LIBRARY}/tracking/spawn.py",
        "elif self._long < math.inf:",
        "elif False:",
        "tests/tracking/test_timesheets.py::test_training_shows_itself_within_its_first_epoch_where_that_lasts",
    ),
    Mutation(
        "times of a short training forgotten",
        f"{LIBRARY}/tracking/labbook.py",
        "began=sheet.began if sheet else None",
        "began=None",
        "tests/tracking/test_timesheets.py::test_short_training_starts_nothing_and_its_run_tells_later_when_it_was",
    ),
    Mutation(
        "timesheet of another training taken",
        f"{LIBRARY}/tracking/timesheets.py",
        "return sheet if fits else None",
        "return sheet",
        "tests/tracking/test_timesheets.py::test_timesheet_that_is_damaged_or_foreign_is_as_none",
    ),
    Mutation(
        "recorder on although it is switched off",
        f"{LIBRARY}/tracking/spawn.py",
        'return _LONG_SECONDS if value == "on" else math.inf',
        "return _LONG_SECONDS",
        "tests/tracking/test_tracking.py::test_recorder_that_is_switched_off_starts_nothing_and_makes_no_store",
    ),
    Mutation(
        "order of the step-down reversed",
        f"{LIBRARY}/study/verdicts.py",
        "np.argsort(-flipped[..., 0]",
        "np.argsort(flipped[..., 0]",
        "tests/study/test_verdicts.py::test_adjusted_p_is_that_of_westfall_and_young_worked_out_flip_by_flip",
    ),
    Mutation(
        "step-down without its steps",
        f"{LIBRARY}/study/verdicts.py",
        "axis=-2)[..., ::-1, :]",
        "axis=-2)[..., -1:, :]",
        "tests/study/test_verdicts.py::test_adjusted_p_is_that_of_westfall_and_young_worked_out_flip_by_flip",
    ),
    Mutation(
        "family of one for each comparison",
        f"{LIBRARY}/study/verdicts.py",
        "(largest >= flipped[..., :1] - SAME)",
        "(flipped >= flipped[..., :1] - SAME)",
        "tests/study/test_verdicts.py::test_errors_of_families_and_of_equivalence_are_held",
    ),
    Mutation(
        "ties taken for less extreme",
        f"{LIBRARY}/study/verdicts.py",
        "flipped[..., :1] - SAME)",
        "flipped[..., :1] + SAME)",
        "tests/study/test_verdicts.py::test_gains_without_spread_have_the_p_value_of_the_sign_test",
    ),
    Mutation(
        "one-sided for two-sided in a family",
        f"{LIBRARY}/study/verdicts.py",
        "np.abs(flipped, out=flipped)",
        "flipped",
        "tests/study/test_verdicts.py::test_order_of_the_comparisons_and_the_sign_of_all_gains_change_nothing",
    ),
    Mutation(
        "margin ignored",
        f"{LIBRARY}/study/verdicts.py",
        "    if low > -margin:",
        "    if low > -1:",
        "tests/study/test_verdicts.py::test_verdicts_are_tried_in_their_order",
    ),
    Mutation(
        "two-sided tests of equivalence",
        f"{LIBRARY}/study/sampling.py",
        "confidence=1 - 2 * alpha",
        "confidence=1 - alpha",
        "tests/study/test_outputs.py::test_equivalence_is_two_one_sided_tests",
    ),
    Mutation(
        "two-sided test of chance",
        f"{LIBRARY}/study/cells_table.py",
        'sampling.p(above, alternative="greater")',
        "sampling.p(above)",
        "tests/study/test_outputs.py::test_chance_is_left_by_a_one_sided_test",
    ),
    Mutation(
        "one-sided for two-sided in power",
        f"{LIBRARY}/study/verdicts.py",
        "critical = f.isf(level, 1, freedom)",
        "critical = f.isf(2 * level, 1, freedom)",
        "tests/study/test_verdicts.py::test_seeds_needed_have_the_power_that_simulation_shows",
    ),
    Mutation(
        "half of the seeds constant, and a verdict all the same",
        f"{LIBRARY}/study/verdicts.py",
        "    return degenerate >= _DEGENERATE_SHARE",
        "    return degenerate > _DEGENERATE_SHARE",
        "tests/study/test_verdicts.py::test_half_of_the_seeds_constant_or_an_untrained_arm_is_unfit",
    ),
    Mutation(
        "interaction counted twice in two-way intervals",
        f"{LIBRARY}/study/statistics.py",
        "np.maximum(of_seeds + of_images - rest, 0)",
        "np.maximum(of_seeds + of_images + rest, 0)",
        "tests/study/test_statistics.py::test_two_way_interval_is_that_of_the_variance_components",
    ),
    Mutation(
        "two-way interval narrower than that over seeds",
        f"{LIBRARY}/study/statistics.py",
        "    half = np.maximum(half, high - mean)\n",
        "",
        "tests/study/test_statistics.py::test_two_way_interval_is_never_narrower_than_that_over_seeds",
    ),
    Mutation(
        "one untrained network for all seeds",
        f"{LIBRARY}/study/on_features.py",
        'seeds.integer(seed, self.question.name, "untrained")',
        'seeds.integer(0, self.question.name, "untrained")',
        "tests/study/test_sources.py::test_untrained_network_is_drawn_by_the_seed_and_stays_for_more_labels",
    ),
    Mutation(
        "control with what was learned",
        f"{LIBRARY}/study/sources.py",
        "return not of_arm(self.row.arm).from_source",
        "return False",
        "tests/study/test_sources.py::test_untrained_network_is_drawn_by_the_seed_and_stays_for_more_labels",
    ),
    Mutation(
        "cells kept under the name of their network",
        f"{LIBRARY}/study/sources.py",
        '"network": _sum(file, file.stat().st_mtime_ns),',
        '"network": source.from_,',
        "tests/study/test_sources.py::test_network_in_another_file_of_the_same_name_is_another",
    ),
    Mutation(
        "features in the units of their network",
        f"{LIBRARY}/study/on_features.py",
        "bench.on_labels(group, seed) / scale",
        "bench.on_labels(group, seed)",
        "tests/study/test_sources.py::test_head_is_what_plain_keras_trains_on_features_of_plain_keras",
    ),
    Mutation(
        "best arm chosen once",
        f"{LIBRARY}/study/curves.py",
        "low, high = resampling.of_means(means[rows, chosen]",
        "low, high = resampling.of_means(means[rows, place]",
        "tests/study/test_curves.py::test_best_arm_is_chosen_anew_in_every_resample",
    ),
    Mutation(
        "curves straight over the labels, not their logarithm",
        f"{LIBRARY}/study/curves.py",
        "    logs = np.log(labels)\n    mean:",
        "    logs = labels\n    mean:",
        "tests/study/test_curves.py::test_mean_over_labels_weighs_budgets_by_their_share_of_the_logarithm",
    ),
    Mutation(
        "gains of different seeds over a range",
        f"{LIBRARY}/study/derived_table.py",
        "(own.scores - base.scores)[budgets]",
        "(own.scores - base.scores[:, ::-1])[budgets]",
        "tests/study/test_outputs.py::test_area_is_the_mean_gain_over_the_logarithm_of_the_labels_paired_by_seed",
    ),
    Mutation(
        "gains of different seeds",
        f"{LIBRARY}/study/cells_table.py",
        "[own.scores - base.scores for",
        "[own.scores - base.scores[::-1] for",
        "tests/study/test_outputs.py::test_gains_and_their_p_values_are_paired_by_seed",
    ),
    Mutation(
        "best arm no worse as if it were alone",
        f"{LIBRARY}/study/answer.py",
        "alpha=settings.alpha / best.among",
        "alpha=settings.alpha",
        "tests/study/test_outputs.py::test_best_of_several_arms_is_no_worse_by_more_than_one_alone",
    ),
    Mutation(
        "labels called saved by their interval alone",
        f"{LIBRARY}/study/saved.py",
        "saves if saves is next(better) else None",
        "saves",
        "tests/study/test_saved.py::test_what_the_gain_does_not_say_is_not_concluded_of_labels",
    ),
    Mutation(
        "labels told although the baseline lacks steps",
        f"{LIBRARY}/study/derived_table.py",
        "    return low > high",
        "    return low > math.inf",
        "tests/study/test_outputs.py::test_baseline_that_gains_more_from_training_lacks_steps_and_saves_no_labels",
    ),
    Mutation(
        "claim judged against nothing",
        f"{LIBRARY}/study/claims.py",
        "verdicts.max_t(np.array(values) - wanted)",
        "verdicts.max_t(np.array(values))",
        "tests/study/test_outputs.py::test_claim_is_judged_by_what_is_left_of_it_corrected_over_its_cases",
    ),
    Mutation(
        "error taken for accuracy",
        f"{LIBRARY}/study/saved.py",
        'value if measure == "accuracy" else 1 - value',
        "value",
        "tests/study/test_saved.py::test_error_is_one_minus_accuracy_and_rows_come_in_any_order",
    ),
    Mutation(
        "types of columns guessed",
        f"{LIBRARY}/reporting/study_tables.py",
        "{str: str, int",
        "{str: lambda text: int(text) if text[:1].isdigit() else text, int",
        "tests/study/test_outputs.py::test_task_named_by_numbers_stays_what_it_is_called",
    ),
    Mutation(
        "study on another split than the pipeline",
        f"{LIBRARY}/study/stage.py",
        '"params.yaml")).dataset\n',
        '"params.yaml")).dataset.model_copy(update={"split_seed": 9})\n',
        "tests/study/test_stage.py::test_study_of_digits_is_answered_on_the_images_that_prepare_makes",
    ),
    Mutation(
        "white of the digits taken for 255",
        f"{LIBRARY}/study/cells.py",
        "Part(normalise(part.images, white=raw.white)",
        "Part(normalise(part.images)",
        "tests/study/test_stage.py::test_study_of_digits_is_answered_on_the_images_that_prepare_makes",
    ),
    Mutation(
        "tables of an earlier run shown while a study runs",
        f"{LIBRARY}/study/interim.py",
        "if answered and not (progress and progress.newer_than(record_of_last)):",
        "if answered:",
        "tests/study/test_page.py::test_running_study_shows_within_a_second_what_is_there_and_judges_nothing",
    ),
    Mutation(
        "stopped study taken for a running one",
        f"{LIBRARY}/study/interim.py",
        "        progress.process = None\n",
        "",
        "tests/study/test_page.py::test_stopped_study_shows_what_is_there_until_it_goes_on",
    ),
    Mutation(
        "interim page after the end",
        f"{LIBRARY}/study/interim.py",
        '    (folder / "progress.json").unlink(missing_ok=True)\n',
        "",
        "tests/study/test_page.py::test_stopped_study_shows_what_is_there_until_it_goes_on",
    ),
    Mutation(
        "tables of another grid taken for the answer",
        f"{LIBRARY}/study/interim.py",
        "_answered(section) in (None, asked)",
        "True",
        "tests/study/test_page.py::test_tables_of_another_grid_are_not_taken_for_the_answer",
    ),
    Mutation(
        "trainings kept without the libraries' versions",
        f"{LIBRARY}/study/store.py",
        '"libraries": libraries(),',
        '"libraries": {},',
        "tests/study/test_run.py::test_kept_networks_are_known_by_the_machine_and_the_libraries",
    ),
    Mutation(
        "trainings kept without their seeds",
        f"{LIBRARY}/study/run.py",
        '"seed": seed,\n                "source": self',
        '"seed": 0,\n                "source": self',
        "tests/study/test_run.py"
        "::test_kept_networks_are_known_by_all_that_acts_on_them_and_by_nothing_else",
    ),
    Mutation(
        "trainings kept under the size of their group",
        f"{LIBRARY}/study/run.py",
        '"kind": "cell",',
        '"kind": ["cell", self.prepared.replicas.group_size],',
        "tests/study/test_run.py"
        "::test_kept_networks_are_known_by_all_that_acts_on_them_and_by_nothing_else",
    ),
    Mutation(
        "whole rows trained again for one new seed",
        f"{LIBRARY}/study/run.py",
        "missing.append(group.of(lacking))",
        "missing.append(group)",
        "tests/study/test_run.py::test_what_is_added_is_trained_and_what_was_there_stays",
    ),
    Mutation(
        "equal losses decided by the order of the list",
        f"{LIBRARY}/study/rates.py",
        "key=lambda rate: (criterion(losses[rate]), rate))",
        "key=lambda rate: criterion(losses[rate]))",
        "tests/study/test_rates.py",
    ),
    Mutation(
        "loss that is no number taken for the best",
        f"{LIBRARY}/study/rates.py",
        "return math.inf if math.isnan(mean) else mean",
        "return -math.inf if math.isnan(mean) else mean",
        "tests/study/test_rates.py",
    ),
    Mutation(
        "learning rates searched on test images",
        f"{LIBRARY}/study/cells.py",
        'part = "target_test" if chosen is None else "target_train"',
        'part = "target_test"',
        "tests/study/test_run.py::test_search_sees_no_test_image_and_no_label_that_validates",
    ),
    Mutation(
        "learning rates searched on labels that train",
        f"{LIBRARY}/study/cells.py",
        "return np.delete(order, slice(*group.validates)).astype(np.int32)",
        "return order.astype(np.int32)",
        "tests/study/test_run.py::test_search_sees_no_test_image_and_no_label_that_validates",
    ),
    Mutation(
        "learning rates searched on all seeds",
        f"{LIBRARY}/study/plan.py",
        """    searched = group.of(range(grid.search_seeds))
    for rate, fold""",
        """    searched = group
    for rate, fold""",
        "tests/study/test_plan.py"
        "::test_search_is_on_five_seeds_at_every_rate_whatever_the_order_of_the_list",
    ),
    Mutation(
        "few labels validated once",
        f"{LIBRARY}/study/plan.py",
        "_ENOUGH_TO_VALIDATE, _FOLDS = 25, 5",
        "_ENOUGH_TO_VALIDATE, _FOLDS = 10, 5",
        "tests/study/test_plan.py::test_last_fifth_validates_and_of_few_labels_each_fifth_once",
    ),
    Mutation(
        "losses kept without the images that validate",
        f"{LIBRARY}/study/run.py",
        '{"source": key, "valid": self._valid}',
        '{"source": key, "valid": ""}',
        "tests/study/test_run.py::test_sources_rate_is_chosen_on_its_validation_images",
    ),
    Mutation(
        "native bytes taken for those of any processor",
        f"{LIBRARY}/core/runtime.py",
        'return " ".join(_offered()) if instructions == NATIVE else _CAP',
        "return instructions if instructions == NATIVE else _CAP",
        "tests/study/test_run.py::test_kept_networks_are_known_by_the_machine_and_the_libraries",
    ),
]


def run_tests(root: Path, tests: set[str]) -> tuple[bool, str]:
    """Runs the tests in the copy; returns whether they passed, and pytest's first failure."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *sorted(tests)],
        cwd=root,
        capture_output=True,
        text=True,
    )
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR "))]
    if done.returncode not in (0, 1):
        raise SystemExit(f"pytest ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return done.returncode == 0, failed[0] if failed else ""


def copy_tree(folder: Path) -> None:
    """Copies what git does not ignore, and the raw data where it is at hand."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    raw = [str(path.relative_to(ROOT)) for path in (ROOT / "data/raw").rglob("*-ubyte")]
    for name in [*listed.split("\0"), *raw]:
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((ROOT / name).read_bytes())
    # The tests copy the tree that git lists.
    subprocess.run(["git", "init", "-q", str(folder)], check=True)


def tried(mutation: Mutation, roots: "queue.Queue[Path]") -> str:
    """Makes one mutation in a free copy; returns the test that noticed, or nothing."""
    root = roots.get()
    path = root / mutation.file
    text = path.read_text()
    path.write_text(text.replace(mutation.old, mutation.new, 1))
    began = time.monotonic()
    survived, failed = run_tests(root, {mutation.tests})
    path.write_text(text)
    roots.put(root)
    # "FAILED tests/test_tasks.py::test_name[...] - why" or without the reason.
    by = failed.partition("::")[2].partition(" - ")[0].partition("[")[0]
    print(
        f"{'SURVIVED' if survived else 'caught':<9}{mutation.name} "
        f"({time.monotonic() - began:.0f} s) {by}",
        flush=True,
    )
    return by


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    every = {mutation.name: mutation for mutation in MUTATIONS}
    parser.add_argument("names", nargs="*", metavar="NAME", help="of the table's first column")
    names = parser.parse_args().names
    if unknown := [name for name in names if name not in every]:
        parser.error(f"no mutation is called {', '.join(map(repr, unknown))}")
    chosen = [every[name] for name in names or every]
    for mutation in chosen:
        if (ROOT / mutation.file).read_text().count(mutation.old) != 1:
            raise SystemExit(f"error: {mutation.file} does not hold {mutation.old!r} once")
    with tempfile.TemporaryDirectory() as folder:
        roots: queue.Queue[Path] = queue.Queue()
        for number in range(_JOBS):
            copy_tree(Path(folder) / str(number))
            roots.put(Path(folder) / str(number))
        passed, failed = run_tests(Path(folder) / "0", {mutation.tests for mutation in chosen})
        if not passed:
            raise SystemExit(f"error: without any mutation {failed}; mend that first")
        with concurrent.futures.ThreadPoolExecutor(_JOBS) as pool:
            caught_by = list(pool.map(functools.partial(tried, roots=roots), chosen))
    missed = [mutation.name for mutation, by in zip(chosen, caught_by, strict=True) if not by]
    rows = {row.split(" | ")[0]: row for row in re.findall(_ROW, PAGE.read_text(), re.MULTILINE)}
    for mutation, by in zip(chosen, caught_by, strict=True):
        head = f"| {mutation.name}"
        rows[head] = f"{head} | `{mutation.file}` | `{by or 'SURVIVED'}` |"
    kept = [rows[head] for own in MUTATIONS if (head := f"| {own.name}") in rows]
    table = "\n".join(["| mutation | file | caught by |", "| --- | --- | --- |", *kept]) + "\n"
    filled = docs.place("mutations", table)
    PAGE.write_text(docs.PLACE.sub(lambda _: filled, PAGE.read_text()))
    print(f"{len(chosen) - len(missed)} of {len(chosen)} mutations caught")
    if missed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
