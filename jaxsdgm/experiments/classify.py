"""Document classification from a few labels: M1+M2, AUX, SSVAEs, supervised twins (spec §5-§8)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxsdgm.data.batches import SemiSupervisedPlan, TwoLanguagePlan
from jaxsdgm.data.documents import Corpus
from jaxsdgm.errors import UserError
from jaxsdgm.evaluation.report import write_report
from jaxsdgm.evaluation.summary import write_summary
from jaxsdgm.experiments import baselines, self_training, setup, ssvae
from jaxsdgm.experiments.inputs import FEATURES, Inputs, leave_out_few, redraw
from jaxsdgm.experiments.outputs import make_evaluate
from jaxsdgm.experiments.setup import Config, Model
from jaxsdgm.experiments.sweep import compare_points, trials_of, tuned
from jaxsdgm.experiments.systems import (
    SUPERVISED,
    build,
    make_initialise,
    targets_of,
    transfer,
)
from jaxsdgm.experiments.vectors import start_from
from jaxsdgm.experiments.zero_shot import load_languages, make_summarise, objective_of
from jaxsdgm.models.semi import HYPERPARAMETERS, TRANSFERRED
from jaxsdgm.training.loop import Fit, Schedule, fit
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.training.state import TrainState, adam, create_state, divide_rate
from jaxsdgm.training.step import make_run, make_step
from jaxsdgm.training.trials import Task, Trial, shapes_of


def run(config: Config, workdir: Path, *, corpus: Corpus | None = None) -> dict[str, Any]:
    """Trains and evaluates one system, or goes on where it stopped; writes results.json.

    Several trials, or values of a sweep, train side by side, each in a sub-folder that is the
    workdir of a run of its own. `corpus` stands for the one that `config.data` describes.
    """
    if config.model.system not in baselines.BASELINES:
        config, corpus = leave_out_few(config, corpus)
    configs = trials_of(tuned(config))
    found = run_side_by_side({workdir / name: one for name, one in configs.items()}, corpus)
    if list(configs) == [""]:
        return found[0]
    results = {"kind": "trials", "name": config.name, **compare_points(configs, found)}
    write_summary(workdir, [result for result in found if result])
    setup.write_results(workdir, results)
    return results


def run_side_by_side(configs: Mapping[Path, Config], corpus: Corpus | None) -> list[dict[str, Any]]:
    """The results of runs that differ in seeds and in hyperparameters of the objective.

    Those of a run that could not go on are empty.
    """
    one = next(iter(configs.values()))
    again = self_training.wanted(one)
    if one.model.system in baselines.BASELINES and not one.target.language:
        return [baselines.run(c, folder, corpus=corpus) for folder, c in configs.items()]
    if todo := unfinished(configs):
        base, parallel = load_languages(one, corpus), Parallel(one.parallel)
        if again:
            self_training.require_unlabelled(base)
            train(unfinished(self_training.first_stages(todo)), base, parallel)
        train(todo, base, parallel)
    return [setup.finished(folder) or {} for folder in configs]


def unfinished(configs: Mapping[Path, Config]) -> dict[Path, Config]:
    """Those without results; all workdirs are there afterwards."""
    for folder, config in configs.items():
        setup.start_workdir(config, folder)
    return {folder: config for folder, config in configs.items() if not setup.finished(folder)}


def train(configs: Mapping[Path, Config], base: Inputs, parallel: Parallel) -> None:
    """Trains the runs, those of equal models side by side, and writes their workdirs."""
    for model, group in by_model(configs, base, parallel):
        train_group(model, {folder: configs[folder] for folder in group}, group, parallel)


def by_model(
    configs: Mapping[Path, Config], base: Inputs, parallel: Parallel
) -> list[tuple[Model, dict[Path, Inputs]]]:
    """The inputs of every run, gathered by equal models: only these train side by side."""
    groups: list[tuple[Any, dict[Path, Inputs]]] = []
    for folder, config in configs.items():
        inputs = redraw(base, config)
        model = build(config, inputs, parallel, trials=len(configs))
        group = next((group for known, group in groups if known == model), None)
        if group is None:
            group = {}
            groups.append((model, group))
        group[folder] = inputs
    return groups


def train_group(
    model: Model,
    configs: Mapping[Path, Config],
    inputs: Mapping[Path, Inputs],
    parallel: Parallel,
) -> None:
    """Trains the runs of one model side by side and writes their workdirs."""
    first = next(iter(inputs.values()))
    for folder in configs:
        for tokenizer in first.tokenizers.values():
            tokenizer.save(folder / "tokenizer")
        if first.scaling:
            first.scaling.save(folder / FEATURES)
    fits = fit_group(model, configs, inputs, parallel)
    summarise = make_summarise(model, first, parallel)
    for (folder, one), result in zip(configs.items(), fits, strict=True):
        if result.ended_well:
            results, figures = summarise(one, inputs[folder], result)
            results |= self_training.evidence(one, folder, inputs[folder], result.state)
            write_report(folder, results, figures=figures)
            setup.write_results(folder, results)


def fit_group(
    model: Model,
    configs: Mapping[Path, Config],
    inputs: Mapping[Path, Inputs],
    parallel: Parallel,
) -> list[Fit]:
    """Trains the runs of one model, or goes on with their self-training (spec §11.2)."""
    teacher, starts = None, {}
    first, config = next(iter(inputs.values())), next(iter(configs.values()))
    if self_training.wanted(config):
        teacher = self_training.make_teacher(config, model, first, parallel)
        starts = {f: self_training.Start(inputs[f], f, teacher) for f in configs}
        configs = {f: self_training.second_stage(one) for f, one in configs.items()}
        inputs = {f: start.inputs for f, start in starts.items()}
        first, config = next(iter(inputs.values())), next(iter(configs.values()))
    task = make_task(config, model, list(inputs.values()), parallel)
    initialise = make_initialise(model, first)
    trials = [
        make_trial(one, model, inputs[folder], parallel, folder, initialise)
        for folder, one in configs.items()
    ]
    if teacher:
        task = self_training.with_labels(task, teacher)
        trials = [starts[trial.workdir].trial(trial) for trial in trials]
    return fit(
        task,
        trials,
        schedule=Schedule(**{**config.training, "eval_every": eval_every(config, first)}),
        parallel=parallel,
        tensorboard=config.tensorboard,
        profile=config.profile,
    )


# -- training ----------------------------------------------------------------------------------


#: of the rule "stepwise": up to so many labels alpha is beta, with more so many times that
FEW, TIMES = 32, 3.0


def label_weight(rule: str, beta: float, n_labelled: int, n_unlabelled: int) -> float:
    """alpha = beta (Nl + Nu) / Nl (spec §6.4), beta itself, or in two steps (FEW, TIMES)."""
    if rule == "scaled":
        return beta * (n_labelled + n_unlabelled) / n_labelled
    if rule in ("plain", "stepwise"):
        return TIMES * beta if rule == "stepwise" and n_labelled > FEW else beta
    raise UserError(f"config.model.alpha_rule is {rule!r}; use one of scaled, plain, stepwise")


def make_hyper(config: Config, plan: SemiSupervisedPlan | TwoLanguagePlan) -> dict[str, float]:
    """The numbers in a run's loss and optimiser; Nu is of all unlabelled documents of its steps."""
    if config.model.system in ssvae.PARTS:
        return ssvae.make_hyper(config)
    groups, rule = plan.groups, config.model.alpha_rule
    others = sum(n for group, n in groups.items() if group.endswith("unlabelled"))
    hyper = {name: config.model[name] for name in HYPERPARAMETERS if name != "alpha"}
    hyper |= {"learning_rate": config.learning_rate, **setup.free_bits(config)}
    if isinstance(plan, SemiSupervisedPlan):
        return {**hyper, "alpha": label_weight(rule, config.model.beta, groups["labelled"], others)}
    n, m = groups["source_labelled"], groups.get("target_labelled", 0)
    hyper["alpha"] = label_weight(rule, config.model.beta, n, others)
    hyper["target_alpha"] = label_weight(rule, config.target.beta, m, others) if m else 0.0
    hyper["target_labelled_weight"] = config.target.labelled_weight
    hyper["target_unlabelled_weight"] = config.target.unlabelled_weight
    return hyper


def make_plan(
    config: Config, inputs: Inputs, multiple: int
) -> SemiSupervisedPlan | TwoLanguagePlan:
    """Which documents are in which step."""
    weight = config.model.unlabelled_weight
    size = config.data.batch_size or len(inputs.subset.indices)
    source = language_plan(config, inputs, multiple, weight=weight, batch_size=size)
    if not inputs.target:
        return source
    epoch, weight = source.steps_per_epoch, config.target.unlabelled_weight
    fields = {"batch_size": -(-len(inputs.target.subset.indices) // epoch), "epoch": epoch}
    target = language_plan(config, inputs.target, multiple, weight=weight, **fields)
    return TwoLanguagePlan(source, target)


def language_plan(
    config: Config, inputs: Inputs, multiple: int, *, weight: float, **fields: int
) -> SemiSupervisedPlan:
    """The batches of one language; `weight` is that of its unlabelled documents."""
    labelled, unlabelled = np.array(inputs.subset.indices, int), inputs.unlabelled
    if config.model.system in (*SUPERVISED, ssvae.SUPERVISED) or not weight:
        unlabelled = unlabelled[:0]
    of_training_file = unlabelled < len(inputs.corpus.splits["train"])
    return SemiSupervisedPlan(
        labelled,
        inputs.splits["train"]["labels"][labelled],
        unlabelled[of_training_file],
        unlabelled_size=config.data.unlabelled_size,
        further=unlabelled[~of_training_file],
        further_share=config.data.further_share,
        seed=config.seed,
        multiple=multiple,
        **fields,
    )


def documents_of(inputs: Inputs, groups: Iterable[str]) -> dict[str, dict[str, np.ndarray]]:
    """The training documents that each group of rows is taken from."""
    target = inputs.target or inputs
    of = lambda group: target if group.startswith("target_") else inputs
    return {group: of(group).splits["train"] for group in groups}


def phase_of(inputs: Inputs) -> str:
    """The name of a step's data: its language, or both."""
    return "-".join(inputs.of_languages)


def eval_every(config: Config, inputs: Inputs) -> int:
    """Steps between evaluations; 0 in the config means one epoch."""
    return config.training.eval_every or make_plan(config, inputs, 1).steps_per_epoch


def make_task(
    config: Config, model: Model, of_trials: Sequence[Inputs], parallel: Parallel
) -> Task:
    """The scan, the data and the evaluation of the runs of one model."""
    inputs = of_trials[0]
    objective = setup.make_objective(model, objective_of(inputs))
    rate = setup.rate_schedule(config, updates=config.training.max_steps)
    schedule = setup.annealed(config, rate)
    if config.model.system in ssvae.PARTS:
        schedule = ssvae.make_schedule(config, schedule)
    optimizer = make_optimizer(config, model)
    step = make_step(objective, optimizer, schedule=schedule, axis_name=parallel.axis_name)
    groups = make_plan(config, inputs, 1).groups
    stream = streamed(config, inputs)
    documents = dict.fromkeys(groups, {}) if stream else documents_of(inputs, groups)
    data = {phase_of(inputs): documents}
    evaluate, compile_evaluation = make_evaluate(model, of_trials, parallel)
    return Task(
        config.name,
        make_run(step),
        objective,
        shapes=shapes_of(data),
        read=lambda: data,
        evaluate=evaluate,
        compile_evaluation=compile_evaluation,
        score="accuracy",
        maximise=True,
        segment=segment(config, inputs, parallel) if stream else 0,
        between=rate_division(config),
    )


def rate_division(config: Config) -> Callable[[Any, Any, Any], Any] | None:
    """Divides learning rates where dev has not improved for so long; None: never."""
    after = config.rate_division.after
    return partial(divide_rate, after=after, by=config.rate_division.by) if after else None


#: bytes of streamed documents that wait on the device
SEGMENT = 2**26


def streamed(config: Config, inputs: Inputs) -> bool:
    """Whether the training documents stay on the host, and only those of the next steps move."""
    total = sum(_bytes(one.splits["train"]) for one in inputs.of_languages.values())
    return total > config.data.resident_gib * 2**30


def segment(config: Config, inputs: Inputs, parallel: Parallel) -> int:
    """Steps whose documents are SEGMENT bytes."""
    plan = make_plan(config, inputs, len(parallel.devices))(0, 1)
    documents = documents_of(inputs, plan)
    of_one = {group: _bytes(x) / len(x["labels"]) for group, x in documents.items()}
    step = sum(rows["index"].shape[1] * of_one[group] for group, rows in plan.items())
    return max(1, int(SEGMENT / step))


def _bytes(arrays: Mapping[str, np.ndarray]) -> int:
    return sum(x.nbytes for x in arrays.values())


def make_optimizer(config: Config, model: Model) -> Any:
    """Adam; what was pretrained may move slower, and parts of the model not at all."""
    scales: dict[str, float] = {}
    if config.encoder_rate != 1:
        scales.update(dict.fromkeys(TRANSFERRED, config.encoder_rate))
    if config.target.adversary == "reference":
        scales["lstm"] = 2.0  # two of the paper's optimisers, with the same gradient (spec §9)
    frozen = setup.frozen_parts(config, model)
    decay, b2 = config.weight_decay, config.adam_b2
    return adam(frozen=frozen, scales=scales, weight_decay=decay, b2=b2)


def make_trial(
    config: Config,
    model: Model,
    inputs: Inputs,
    parallel: Parallel,
    workdir: Path,
    initialise: Callable[[int], Any],
) -> Trial:
    """What is a run's own: its first state, its batches and its workdir."""
    plan = make_plan(config, inputs, len(parallel.devices))
    hyper = make_hyper(config, plan)

    def make() -> TrainState:
        variables = initialise(config.seed)
        if inputs.pretrained:
            variables = transfer(variables, inputs.pretrained, targets_of(inputs))
        if inputs.vectors:
            variables = start_from(variables, inputs.language, inputs.vectors)
        optimizer = make_optimizer(config, model)
        return create_state(variables, optimizer, seed=config.seed, hyper=hyper)

    about = {"config": setup.as_json(config), "kind": "classify"}
    about["tokenizers"] = {lang: t.digest for lang, t in inputs.tokenizers.items()}
    about["label_names"] = list(inputs.corpus.label_names)
    about["transformer"] = asdict(inputs.transformer) if inputs.transformer else None
    documents = documents_of(inputs, plan.groups) if streamed(config, inputs) else {}

    def batches(start: int, count: int) -> Any:
        groups = plan(start, count)
        for group, arrays in documents.items():
            rows = groups[group]
            rows.update({name: x[rows["index"]] for name, x in arrays.items()})
        return {phase_of(inputs): groups}

    return Trial(make, batches, workdir, about)
