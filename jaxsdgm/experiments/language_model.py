"""Text VAEs and the LSTM language model (Li et al. 2019; spec of paper 4): recipes of one bound."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxsdgm.data.batches import EqualLengthPlan, least_padding
from jaxsdgm.errors import UserError
from jaxsdgm.evaluation.latents import mutual_information
from jaxsdgm.evaluation.report import write_report
from jaxsdgm.evaluation.textvae_tables import write_textvae_tables
from jaxsdgm.experiments import setup
from jaxsdgm.experiments.chunked import Chunked
from jaxsdgm.experiments.language_evidence import score_of, summarise
from jaxsdgm.experiments.language_inputs import LanguageInputs, load_inputs
from jaxsdgm.experiments.setup import Config
from jaxsdgm.experiments.sweep import compare_points, trials_of, tuned
from jaxsdgm.models.terms import random_noise, whole
from jaxsdgm.models.textvae import FREE_BITS, SENTENCES, TextVAE
from jaxsdgm.training import schedules
from jaxsdgm.training.aggressive import AGGRESSIVE, PREVIOUS, lagging, make_aggressive_run
from jaxsdgm.training.checkpoints import load_pretrained
from jaxsdgm.training.loop import Schedule, fit
from jaxsdgm.training.parallel import Parallel
from jaxsdgm.training.plateau import START, Plateau
from jaxsdgm.training.state import Best, TrainState, adam, create_state, sgd
from jaxsdgm.training.step import make_run, make_step
from jaxsdgm.training.trials import Task, Trial, shapes_of

TEXT = "text"  # the phase of training
CHUNK = 100  # sentences at a time
WIDTHS = 4  # of a step's arrays, each of which is compiled
AUTOENCODER = "autoencoder"  # the folder of the stage before
#: of the evaluation's draws, the same each time
KEY = 1


def run(config: Config, workdir: Path) -> dict[str, Any]:
    """Trains and evaluates one recipe, or goes on where it stopped; writes results.json.

    With `config.pretrain_encoder` an autoencoder is trained first, in a sub-folder and for every
    seed. Several trials, or values of a sweep, train side by side, each in a sub-folder that is the
    workdir of a run of its own.
    """
    configs = trials_of(tuned(config))
    if config.pretrain_encoder:
        first = autoencoder_of(config)
        run(first, workdir / AUTOENCODER)
        before = {one.seed: name for name, one in trials_of(first).items()}
        for one in configs.values():
            one.pretrained = str(workdir / AUTOENCODER / before[one.seed])
    folders = {workdir / name: one for name, one in configs.items()}
    for folder, one in folders.items():
        setup.start_workdir(one, folder)
    if todo := {f: one for f, one in folders.items() if not setup.finished(f)}:
        train(todo)
    found = [setup.finished(folder) or {} for folder in folders]
    if list(configs) == [""]:
        return found[0]
    results = {"kind": "trials", "name": config.name}
    results |= compare_points(configs, found, score="score", maximise=False)
    write_textvae_tables(workdir, [result for result in found if result])
    setup.write_results(workdir, results)
    return results


def autoencoder_of(config: Config) -> Config:
    """The stage before a pretrained encoder: the same sizes, and a divergence of weight 0."""
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.name, config.pretrain_encoder = f"{config.name}_autoencoder", False
        config.model.kl_weight, config.model.free_bits_of = 0.0, "none"
        config.model.importance_samples, config.aggressive = 1, False
        config.sweep = type(config.sweep)(dict.fromkeys(config.sweep, ()))
        config.probes = False
    return config


def train(configs: Mapping[Path, Config]) -> None:
    """Trains runs that differ in seeds and weights side by side; writes their workdirs."""
    first = next(iter(configs.values()))
    parallel, inputs = Parallel(first.parallel), load_inputs(first)
    check_samples(first)
    model = build(first, inputs, parallel, trials=len(configs))
    for folder in configs:
        inputs.vocabulary.save(folder / "tokenizer")
    plans = [make_plan(one, inputs, len(parallel.devices)) for one in configs.values()]
    task = make_task(first, model, inputs, plans[0], parallel)
    trials = [
        make_trial(one, model, inputs, plan, folder)
        for (folder, one), plan in zip(configs.items(), plans, strict=True)
    ]
    epoch = len(plans[0].batches)
    fits = fit(
        task,
        trials,
        schedule=Schedule(
            max_steps=first.training.max_epochs * epoch,
            eval_every=epoch,
            checkpoint_seconds=first.training.checkpoint_seconds,
        ),
        parallel=parallel,
        tensorboard=first.tensorboard,
        profile=first.profile,
    )
    predict = make_predict(model, parallel)
    for (folder, one), result in zip(configs.items(), fits, strict=True):
        if result.ended_well:
            results = summarise(one, model, inputs, result, predict)
            write_report(folder, results)
            setup.write_results(folder, results)


def check_samples(config: Config) -> None:
    """Raises UserError before anything is trained where chunks do not fill the samples."""
    samples, chunk = config.evaluation.samples, config.evaluation.chunk
    if samples % min(chunk, samples):
        raise UserError(
            f"config.evaluation.samples is {samples}, no multiple of the chunk, {chunk}"
        )


# -- the model -----------------------------------------------------------------------------------


def build(config: Config, inputs: LanguageInputs, parallel: Parallel, *, trials: int) -> TextVAE:
    """The model of a config."""
    backend = setup.recurrence(config, parallel, trials=trials)
    fields = {"backend": backend, "axis_name": parallel.axis_name}
    return build_model(config, len(inputs.vocabulary), **fields)


def build_model(config: Config, vocab_size: int, **fields: Any) -> TextVAE:
    """The model of a config for a vocabulary of such a size."""
    model = config.model
    if model.free_bits_of not in FREE_BITS:
        known = ", ".join(FREE_BITS)
        raise UserError(f"config.model.free_bits_of is {model.free_bits_of!r}; use one of {known}")
    if model.recurrence == "cudnn":
        raise UserError("config.model.recurrence is 'cudnn', which a decoder has no use for")
    names = ("embedding", "hidden", "latent", "dropout", "importance_samples")
    return TextVAE(
        vocab_size,
        **{name: model[name] for name in names},
        free_bits=model.free_bits_of,
        dtype=setup.compute_dtype(config),
        **fields,
    )


def initialise(config: Config, model: TextVAE, inputs: LanguageInputs) -> dict[str, Any]:
    """First values, the encoder's of the run `config.pretrained` if there is one."""
    rows = {"ids": np.ones((2, 3), np.int32), "lengths": np.full(2, 3, np.int32)}
    init = jax.jit(partial(model.clone(axis_name=None).init, method="initialise"))
    params = dict(init(jax.random.key(config.seed), rows)["params"])
    if config.pretrained:
        params["encoder"] = pretrained_encoder(config.pretrained, inputs, params["encoder"])
    return {"params": params}


def pretrained_encoder(workdir: str, inputs: LanguageInputs, wanted: Any) -> Any:
    """The encoder of another run on the same words, as big as the `wanted` one."""
    before, about, folder = load_pretrained(workdir)
    if about.get("kind") != "language_model" or "encoder" not in before["params"]:
        raise UserError(f"{folder}: not a text VAE's run; name one in config.pretrained")
    if about["vocabulary"] != inputs.vocabulary.digest:
        raise UserError(
            f"{folder}: its vocabulary is another one; pretrain on the same data, with the same "
            "config.data.min_count"
        )
    there = before["params"]["encoder"]
    if (shapes := jax.tree.map(np.shape, there)) != jax.tree.map(np.shape, wanted):
        raise UserError(
            f"{folder}: its encoder is of other sizes ({shapes['kernel']} at its end); use the "
            "same config.model.embedding, hidden and latent"
        )
    return there


# -- training ------------------------------------------------------------------------------------


def make_plan(config: Config, inputs: LanguageInputs, multiple: int) -> EqualLengthPlan:
    """Which sentences are in which step."""
    lengths = inputs.arrays["train"]["lengths"]
    return EqualLengthPlan(SENTENCES, lengths, config.data.batch_size, config.seed, multiple)


def widths_of(model: TextVAE, plan: EqualLengthPlan) -> list[int]:
    """Tokens that a step's sentences are filled up to; none where the longest one decides."""
    if model.backend != "packed":
        return []
    return least_padding(np.array([plan.lengths[batch[0]] for batch in plan.batches]), WIDTHS)


def make_hyper(config: Config) -> dict[str, float]:
    """The numbers in a run's loss and optimiser, and what its rules remember."""
    hyper = {name: config.model[name] for name in ("kl_weight", "free_bits")}
    hyper |= {AGGRESSIVE: float(config.aggressive), PREVIOUS: 0.0}
    return {**hyper, "learning_rate": config.learning_rate, **START}


def make_schedule(
    config: Config, inputs: LanguageInputs, epoch: int
) -> Callable[[dict[str, Array], Array], dict[str, Array]]:
    """The KL weight (and a cyclic recipe's rate) in force at a step (spec §3 and §5)."""
    model, n = config.model, len(inputs.arrays["train"]["ids"])
    warmup = model.kl_warmup_epochs * n / config.data.batch_size

    def schedule(hyper: dict[str, Array], step: Array) -> dict[str, Array]:
        hyper = dict(hyper)
        if model.kl_cycle_epochs:
            cycle = model.kl_cycle_epochs * epoch
            at = jnp.asarray(step) % cycle
            hyper["kl_weight"] *= jnp.minimum(1.0, 0.1 + (at + 1) / (5 * epoch))
            if config.optimizer == "adam":
                hyper["learning_rate"] *= schedules.restarts(step // epoch, model.kl_cycle_epochs)
        elif warmup:
            hyper["kl_weight"] *= schedules.linear(step + 1, warmup=warmup)
        return hyper

    return schedule


def make_optimizer(config: Config) -> Any:
    """SGD or Adam after clipping."""
    if config.optimizer not in ("sgd", "adam"):
        raise UserError(f"config.optimizer is {config.optimizer!r}; use sgd or adam")
    return sgd(clip=config.clip) if config.optimizer == "sgd" else adam(clip=config.clip)


def make_task(
    config: Config,
    model: TextVAE,
    inputs: LanguageInputs,
    plan: EqualLengthPlan,
    parallel: Parallel,
) -> Task:
    """The scan, the data and the evaluation of the runs of one model."""
    objective, optimizer = setup.make_objective(model), make_optimizer(config)
    epoch = len(plan.batches)
    schedule = make_schedule(config, inputs, epoch)
    if config.aggressive:
        check_aggressive(config, model)
        rest = objective, optimizer, schedule, plan
        run = make_aggressive_run(*rest, axis_name=parallel.axis_name)
    else:
        fields = {"schedule": schedule, "axis_name": parallel.axis_name}
        run = make_run(make_step(objective, optimizer, **fields, widths=widths_of(model, plan)))
    train = {name: x for name, x in inputs.arrays["train"].items() if name != "row"}
    data = {TEXT: {SENTENCES: train}}
    predict = make_predict(model, parallel, trials=True)
    evaluate, compile_evaluation = make_evaluate(config, predict, inputs)
    rule = Plateau(**config.plateau)

    def between(states: TrainState, bests: Best, scores: Array) -> TrainState:
        if config.aggressive:
            found = predict(states.params, states.batch_stats, inputs.arrays["dev"])
            states = lagging(states, information(found["mean"], found["log_var"]))
        return rule.between(states, bests, scores, states.step // epoch - 1)

    return Task(
        config.name,
        run,
        objective,
        shapes=shapes_of(data),
        read=lambda: data,
        evaluate=evaluate,
        compile_evaluation=compile_evaluation,
        score="score",
        maximise=False,
        between=between if config.plateau.decays else None,
        ended=rule.ended if config.plateau.decays else None,
    )


def check_aggressive(config: Config, model: TextVAE) -> None:
    """Raises UserError where the aggressive recipe makes no sense."""
    if not model.latent or config.optimizer != "sgd" or not config.plateau.decays:
        raise UserError(
            "config.aggressive is for a text VAE with optimizer=sgd and plateau.decays; set "
            "aggressive=False"
        )


def information(means: np.ndarray, log_vars: np.ndarray) -> Array:
    """What z tells of sentences, by trial `[T]`: the mean over chunks of them (He et al.).

    Both arguments are `[T, n, z]`.
    """
    cuts = range(CHUNK, means.shape[1], CHUNK)
    pieces = lambda x: np.split(x, cuts)
    of_one = lambda *q: np.mean([*map(mutual_information, *map(pieces, q))])
    return jnp.asarray([of_one(*q) for q in zip(means, log_vars, strict=True)], jnp.float32)


def make_trial(
    config: Config,
    model: TextVAE,
    inputs: LanguageInputs,
    plan: EqualLengthPlan,
    workdir: Path,
) -> Trial:
    """What is a run's own: its first state, its batches and its workdir."""
    optimizer = make_optimizer(config)

    def make() -> TrainState:
        variables = initialise(config, model, inputs)
        return create_state(variables, optimizer, seed=config.seed, hyper=make_hyper(config))

    about = {"config": setup.as_json(config), "kind": "language_model"}
    about["vocabulary"] = inputs.vocabulary.digest
    return Trial(make, lambda start, count: {TEXT: plan(start, count)}, workdir, about)


# -- evaluation ----------------------------------------------------------------------------------


def make_predict(model: TextVAE, parallel: Parallel, *, trials: bool = False) -> Chunked:
    """Reconstruction, KL and bound per sentence, a draw of z each, and q's mean and log-variance.

    A language model has the reconstruction alone. Where rows have ids to "read", these are what the
    encoder sees. See `Chunked`.
    """
    plain = model.clone(axis_name=None, free_bits="none")

    def predict(params: Any, batch_stats: Any, rows: Any) -> Any:
        hyper = {"kl_weight": jnp.ones(()), "free_bits": jnp.zeros(())}
        fields = {"hyper": hyper, "noise": random_noise(jax.random.key(KEY)), "train": False}
        batch = {SENTENCES: {**whole(rows), "row": rows["row"]}}
        bound = partial(plain.apply, {"params": params})
        found: Any = bound(batch, **fields, method="objective")
        found = {k: v for k, v in found[SENTENCES].items() if k != "kl_counted"}
        if model.latent:
            q: Any = bound(rows.get("read", rows["ids"]), rows["lengths"], method="encode")
            found |= {"mean": q.mean, "log_var": q.log_var}
        return found

    return Chunked(predict, parallel, chunk=CHUNK, trials=trials)


def make_evaluate(
    config: Config, run: Chunked, inputs: LanguageInputs
) -> tuple[Callable[..., Any], Callable[..., None]]:
    """Dev metrics of every trial, and what compiles that; `run` is `make_predict` of trials."""
    rows = inputs.arrays["dev"]

    def evaluate(params: Any, batch_stats: Any, trials: Sequence[int]) -> list[dict[str, float]]:
        found = run(params, batch_stats, rows)
        means = {name: found[name].mean(-1) for name in ("reconstruction", "kl") if name in found}
        means["score"] = score_of(config, found)
        return [{name: float(x[i]) for name, x in means.items()} for i in range(len(trials))]

    def compile_evaluation(params: Any, batch_stats: Any, trials: Sequence[int]) -> None:
        run.compile(params, batch_stats, rows)

    return evaluate, compile_evaluation
