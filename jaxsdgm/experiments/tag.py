"""Tagging words from a few tagged sentences: VSL and its BiGRU baseline (spec of paper 3)."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxsdgm.data.batches import PretrainingPlan
from jaxsdgm.data.token_batches import TokenPlan, most_tokens
from jaxsdgm.errors import UserError
from jaxsdgm.evaluation.report import write_report
from jaxsdgm.evaluation.summary import write_summary
from jaxsdgm.evaluation.tagging import entity_scores, tagging_report
from jaxsdgm.experiments import setup
from jaxsdgm.experiments.chunked import Chunked
from jaxsdgm.experiments.setup import Config
from jaxsdgm.experiments.sweep import compare_points, trials_of, tuned
from jaxsdgm.experiments.tag_evidence import summarise
from jaxsdgm.experiments.tag_inputs import (
    Arrays,
    TagInputs,
    TagTrial,
    draw,
    load_inputs,
    start_from,
    tags_of,
)
from jaxsdgm.layers.token_encoder import TokenEncoder
from jaxsdgm.models.vsl import LATENTS, VSL
from jaxsdgm.training import schedules
from jaxsdgm.training.checkpoints import load_pretrained
from jaxsdgm.training.loop import Schedule, fit
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.training.state import TrainState, adam, create_state
from jaxsdgm.training.step import make_run, make_step
from jaxsdgm.training.trials import Plan, Task, Trial, shapes_of

TAGS = "tags"  # the phase of training
CHUNK = 100  # sentences at a time
SEGMENT = 500  # steps whose tokens are on the device


def run(config: Config, workdir: Path) -> dict[str, Any]:
    """Trains and evaluates one system, or goes on where it stopped; writes results.json.

    Several trials, or values of a sweep, train side by side, each in a sub-folder that is the
    workdir of a run of its own.
    """
    configs = trials_of(tuned(config))
    for name, one in configs.items():
        if one.priors and name:
            one.priors = str(Path(one.priors) / name)
    folders = {workdir / name: one for name, one in configs.items()}
    for folder, one in folders.items():
        setup.start_workdir(one, folder)
    if todo := {f: one for f, one in folders.items() if not setup.finished(f)}:
        train(todo)
    found = [setup.finished(folder) or {} for folder in folders]
    if list(configs) == [""]:
        return found[0]
    results = {"kind": "trials", "name": config.name}
    results |= compare_points(configs, found, score=score_of(config))
    write_summary(workdir, [result for result in found if result])
    setup.write_results(workdir, results)
    return results


def score_of(config: Config) -> str:
    """What selects: accuracy of tokens, or F1 where tags are spans."""
    return "f1" if config.data.entities else "accuracy"


def train(configs: Mapping[Path, Config]) -> None:
    """Trains runs that differ in seeds, draws and weights side by side; writes their workdirs."""
    first = next(iter(configs.values()))
    parallel, inputs = Parallel(first.parallel), load_inputs(first)
    model = build(first, inputs, parallel, trials=len(configs))
    draws = {folder: draw(inputs, one) for folder, one in configs.items()}
    for folder in configs:
        inputs.vocabularies.save(folder / "tokenizer")
        draws[folder].read.save(folder / "tokenizer")
    schedule = Schedule(**first.training)
    plans = make_plans([*configs.values()], [*draws.values()], inputs, schedule, parallel)
    groups = list(plans[0](0, 1)[TAGS])
    task = make_task(first, model, inputs, list(draws.values()), groups, parallel)
    initialise = make_initialise(model, inputs)
    trials = [
        make_trial(one, plan, inputs, draws[folder], folder, initialise)
        for (folder, one), plan in zip(configs.items(), plans, strict=True)
    ]
    fits = fit(
        task,
        trials,
        schedule=schedule,
        parallel=parallel,
        tensorboard=first.tensorboard,
        profile=first.profile,
    )
    predict = make_predict(model, parallel)
    for (folder, one), result in zip(configs.items(), fits, strict=True):
        if result.ended_well:
            results, figures = summarise(one, model, inputs, draws[folder], result, predict)
            write_report(folder, results, figures=figures)
            setup.write_results(folder, results)


# -- the model -----------------------------------------------------------------------------------


def build(config: Config, inputs: TagInputs, parallel: Parallel, *, trials: int) -> VSL:
    """The system of a config."""
    words, characters = inputs.vocabularies.words, inputs.vocabularies.characters
    sizes = words.vocab_size, characters.vocab_size
    packed = setup.recurrence(config, parallel, trials=trials) == "packed"
    sentences, tokens = inputs.sizes
    fields = {"packed": packed, "sentences": sentences, "tokens": tokens}
    fields["axis_name"] = parallel.axis_name
    return build_model(config, sizes, len(inputs.vocabularies.tags), **fields)


def build_model(
    config: Config,
    sizes: tuple[int, int],
    n_tags: int,
    *,
    packed: bool = False,
    **fields: Any,
) -> VSL:
    """The system of a config for vocabularies of so many words and characters."""
    model, dtype = config.model, setup.compute_dtype(config)
    if model.system not in LATENTS:
        known = ", ".join(LATENTS)
        raise UserError(f"config.model.system is {model.system!r}; use one of {known}")
    if model.classify not in ("y", "z"):
        raise UserError(f"config.model.classify is {model.classify!r}; use y or z")
    if model.classify == "z" and model.system != "vsl-gg-hier":
        raise UserError(
            f"config.model.classify is 'z', which is for vsl-gg-hier; {model.system} reads the tag "
            "off what it has: leave it at y"
        )
    if config.frozen not in ("", "embeddings"):
        raise UserError(f"config.frozen is {config.frozen!r}; use embeddings, or leave it empty")
    if config.frozen and not config.vectors:
        raise UserError(
            "config.frozen is 'embeddings', which are random; name word vectors in config.vectors, "
            "or leave it empty"
        )
    names = ("embedding", "hidden", "character_embedding", "character_hidden")
    encoder = TokenEncoder(*sizes, **{k: model[k] for k in names}, packed=packed, dtype=dtype)
    names = (
        "latent",
        "tag_latent",
        "decoder_hidden",
        "decoder_layers",
        "tied",
        "orthogonal",
        "unknown_rate",
    )
    return VSL(
        encoder,
        n_tags,
        model.system,
        model.classify,
        model.variational,
        **{name: model[name] for name in names},
        train_words=not config.frozen,
        update_every=(model.update_every_labelled, model.update_every_unlabelled),
        **fields,
        dtype=dtype,
    )


def make_initialise(model: VSL, inputs: TagInputs) -> Callable[[int], Any]:
    """First variables, by seed."""
    init = jax.jit(partial(model.clone(axis_name=None).init, method="initialise"))
    rows = {"ids": np.ones((2, 2), np.int32), "characters": np.ones((2, 2, 2), np.int32)}
    return lambda seed: start_from(init(jax.random.key(seed), rows), inputs)


# -- training ------------------------------------------------------------------------------------


def make_hyper(config: Config) -> dict[str, float]:
    """The numbers in a run's loss and optimiser."""
    names = ("kl_weight", "labelled_weight", "unlabelled_weight")
    hyper = {name: config.model[name] for name in names}
    return {**hyper, "learning_rate": config.learning_rate, **setup.free_bits(config)}


def make_schedule(config: Config) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    """The hyperparameters in force at a step: the KL weight grows exponentially to its value."""
    rate = setup.rate_schedule(config, updates=config.training.max_steps)

    def schedule(hyper: dict[str, Any], step: Any) -> dict[str, Any]:
        grown = schedules.exponential(step, rate=config.model.kl_rate)
        return rate({**hyper, "kl_weight": hyper["kl_weight"] * grown}, step)

    return schedule


def make_optimizer(config: Config) -> Any:
    """Adam after clipping; the maps to the tag may move slower, and word embeddings not at all."""
    reads = "z" if config.model.system == "vsl-g" else config.model.classify
    scales = {"classifier": config.classifier_rate}
    scales |= dict.fromkeys((f"means_{reads}", f"log_vars_{reads}"), config.tag_rate)
    scales = {part: scale for part, scale in scales.items() if scale != 1}
    return adam(frozen=("table",) if config.frozen else (), scales=scales, clip=config.clip)


def make_task(
    config: Config,
    model: VSL,
    inputs: TagInputs,
    draws: Sequence[TagTrial],
    groups: Sequence[str],
    parallel: Parallel,
) -> Task:
    """The scan, the data and the evaluation of the runs of one model."""
    objective = setup.make_objective(model)
    step = make_step(
        objective,
        make_optimizer(config),
        schedule=make_schedule(config),
        axis_name=parallel.axis_name,
    )
    data = {TAGS: dict.fromkeys(groups, {})}  # all comes with the plan
    evaluate, compile_evaluation = make_evaluate(model, inputs, draws, parallel)
    return Task(
        config.name,
        make_run(step),
        objective,
        shapes=shapes_of(data),
        read=lambda: data,
        evaluate=evaluate,
        compile_evaluation=compile_evaluation,
        score=score_of(config),
        maximise=True,
        segment=SEGMENT,
    )


def sentence_plan(
    config: Config, trial: TagTrial, inputs: TagInputs, groups: Sequence[str], multiple: int
) -> Callable[[int, int], Any]:
    """Which sentences are in which step, labelled ones and others in shuffled passes of their own.

    Where a trial has none of a group, there are rows that do not count.
    """
    which = {"labelled": trial.labelled, "unlabelled": trial.unlabelled}
    sizes = {"labelled": config.data.batch_size, "unlabelled": config.data.unlabelled_size}
    plans = {
        group: PretrainingPlan(
            group, max(1, len(which[group])), sizes[group], config.seed, stream, multiple
        )
        for stream, group in enumerate(groups)
    }

    def rows_of(group: str, start: int, count: int) -> dict[str, np.ndarray]:
        rows = plans[group](start, count)[group]
        if len(which[group]):
            rows["index"] = which[group][rows["index"]].astype(np.int32)
        else:
            rows["mask"] = np.zeros_like(rows["mask"])
        return {**rows, "sentence": rows["index"], "start": inputs.train["start"][rows["index"]]}

    return lambda start, count: {group: rows_of(group, start, count) for group in groups}


def make_plans(
    configs: Sequence[Config],
    draws: Sequence[TagTrial],
    inputs: TagInputs,
    schedule: Schedule,
    parallel: Parallel,
) -> list[Plan]:
    """The batches of every trial; a group has as many tokens in all steps of all trials."""
    both = any(len(trial.unlabelled) for trial in draws)
    groups = ("labelled", "unlabelled") if both else ("labelled",)
    parts, train = len(parallel.devices), inputs.train
    rows = [
        sentence_plan(one, trial, inputs, groups, parts)
        for one, trial in zip(configs, draws, strict=True)
    ]
    lengths = (train["ids"] > 0).sum(1)
    counts = [most_tokens(x, lengths, steps=schedule.last_step, parts=parts) for x in rows]
    tokens = {group: max(count[group] for count in counts) for group in groups}
    arrays = train["ids"], train["spelling"], train["spellings"]

    def plan_of(rows: Callable[[int, int], Any], trial: TagTrial) -> Plan:
        per_token = {"labels": train["labels"], "rare": trial.rare}
        plan = TokenPlan(rows, *arrays, per_token, tokens, parts)
        return lambda start, count: {TAGS: plan(start, count)}

    return [plan_of(x, trial) for x, trial in zip(rows, draws, strict=True)]


def make_trial(
    config: Config,
    plan: Plan,
    inputs: TagInputs,
    drawn: TagTrial,
    workdir: Path,
    initialise: Callable[[int], Any],
) -> Trial:
    """What is a run's own: its first state, its batches and its workdir."""
    optimizer = make_optimizer(config)

    def make() -> TrainState:
        variables = with_priors(initialise(config.seed), config, inputs)
        return create_state(variables, optimizer, seed=config.seed, hyper=make_hyper(config))

    about = {"config": setup.as_json(config), "kind": "tag", **fingerprint(inputs)}
    about["tags"] = list(inputs.vocabularies.tags)
    vocabularies = inputs.vocabularies.words, inputs.vocabularies.characters, drawn.read
    about["tokenizers"] = {t.language: t.digest for t in vocabularies}
    return Trial(make, plan, workdir, about)


def fingerprint(inputs: TagInputs) -> dict[str, str]:
    """What priors belong to: the words of all training sentences, in their order."""
    return {"sentences": setup.digest({"ids": inputs.train["ids"]})}


def with_priors(variables: Any, config: Config, inputs: TagInputs) -> Any:
    """The variables with the priors that the stage `config.priors` ended with (spec §4)."""
    if not config.priors:
        return variables
    if "batch_stats" not in variables:
        raise UserError(
            f"config.priors is for a system with priors, not {config.model.system}; leave it empty"
        )
    before, about, workdir = load_pretrained(config.priors)
    if about.get("kind") != "tag" or about.get("sentences") != fingerprint(inputs)["sentences"]:
        raise UserError(
            f"{workdir}: its priors are of other sentences, or in another order; name a run on "
            "the same data, or leave config.priors empty"
        )
    there, wanted = before["batch_stats"]["priors"], variables["batch_stats"]["priors"]
    if there["mean"].shape != wanted["mean"].shape:
        raise UserError(
            f"{workdir}: its priors are {there['mean'].shape}, not {wanted['mean'].shape}; use "
            "the same config.model.system, latent and tag_latent"
        )
    return {**variables, "batch_stats": {"priors": {**wanted, **there}}}


# -- evaluation ----------------------------------------------------------------------------------


def make_predict(model: VSL, parallel: Parallel, *, trials: bool = False) -> Chunked:
    """`predict(params, batch_stats, rows)` over any number of sentences; see `Chunked`.

    Tags' numbers `[n, t]`, h and the latents' means; with `trials`, each on its own rows, the tags
    alone.
    """
    plain = model.clone(axis_name=None)

    def predict(params: Any, batch_stats: Any, rows: Any) -> Any:
        found: Any = plain.apply({"params": params}, rows, method="predict")
        tag = {"tag": found.pop("log_p").argmax(-1)}
        return tag if trials else {**tag, **found}

    return Chunked(predict, parallel, chunk=CHUNK, trials=trials, own_rows=trials)


def make_evaluate(
    model: VSL, inputs: TagInputs, draws: Sequence[TagTrial], parallel: Parallel
) -> tuple[Callable[..., Any], Callable[..., None]]:
    """Dev metrics of every trial, and what compiles that."""
    names, gold = inputs.vocabularies.tags, inputs.corpus.splits["dev"].tags or ()
    run = make_predict(model, parallel, trials=True)
    rows = lambda trials: [draws[i].held_out["dev"] for i in trials]

    def metrics(found: np.ndarray, arrays: Arrays) -> dict[str, float]:
        tags = tags_of(found, arrays, names)
        report = tagging_report(tags, gold, names)
        scores = {name: report[name] for name in ("accuracy", "macro_f1")}
        return scores | (entity_scores(tags, gold) if inputs.corpus.entities else {})

    def evaluate(params: Any, batch_stats: Any, trials: Sequence[int]) -> list[dict[str, float]]:
        found = run(params, batch_stats, rows(trials))["tag"]
        return [metrics(found[slot], draws[i].held_out["dev"]) for slot, i in enumerate(trials)]

    def compile_evaluation(params: Any, batch_stats: Any, trials: Sequence[int]) -> None:
        run.compile(params, batch_stats, rows(trials))

    return evaluate, compile_evaluation
