"""From a trained classifier to the numbers, tables and figures of its report."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxsdgm.data.huggingface import Tokenizer
from jaxsdgm.data.targets import TargetWords
from jaxsdgm.evaluation.classification import classification_report
from jaxsdgm.evaluation.generation import frequent_words, greedy_text, top_words
from jaxsdgm.evaluation.latents import active_units, collapse_warnings
from jaxsdgm.evaluation.neighbours import nearest_words, pick_queries
from jaxsdgm.models.sdgm import M1M2

STOP_SHARE = 0.1  # a word in more of the documents than this is left out of the word lists
DRAWS = 2  # of z2 from its prior
EXAMPLES = 2  # documents whose z2 is kept while y varies
SAMPLE_LENGTH = 30  # words of a GRU sample
NEIGHBOUR_IDS = 5000  # neighbours come from so many most frequent words

Arrays = dict[str, np.ndarray]


def metrics_of(
    outputs: Mapping[str, Arrays], splits: Mapping[str, Arrays], names: Sequence[str]
) -> dict[str, Any]:
    """Accuracy, F1, confusion, calibration and likelihood of every split that has predictions."""
    reports = {}
    for split, out in outputs.items():
        labels = splits[split]["labels"]
        known = labels >= 0
        reports[split] = classification_report(np.exp(out["log_q"][known]), labels[known], names)
    return reports


def latents_of(output: Arrays) -> dict[str, dict[str, int]]:
    """Active units and size of the latents whose means a prediction came with."""
    means = {name: output[name] for name in ("z1", "z2") if name in output}
    return {
        "active_units": {name: active_units(x) for name, x in means.items()},
        "size": {name: x.shape[1] for name, x in means.items()},
    }


def warnings_of(
    metrics: Mapping[str, Any], latents: Mapping[str, Any], elbo: Mapping[str, Any]
) -> list[str]:
    """Collapsed posteriors and accuracy at chance, in words."""
    terms = elbo.get("dev", {})
    kl = {name: terms[f"kl_{name}"] for name in ("z1", "z2") if f"kl_{name}" in terms}
    counts = np.sum(metrics["dev"]["confusion"], axis=1)
    return collapse_warnings(
        kl,
        {name: latents["active_units"][name] for name in kl},
        sizes=latents["size"],
        dev_accuracy=metrics["dev"]["accuracy"],
        majority_share=float(counts.max() / counts.sum()),
    )


def neighbour_table(
    params: Any,
    pretrained: Any,
    tokenizers: Mapping[str, Tokenizer],
    language: str,
    train: Arrays,
) -> list[dict[str, Any]]:
    """Nearest words across languages: this run's embeddings, the NXVAE's for other languages.

    None for a transformer, whose wordpieces are those of all languages.
    """
    tables = _word_tables(params, [language])
    if pretrained:
        tables = {**_word_tables(pretrained["params"], tokenizers), **tables}
    if language not in tables:
        return []
    words = {lang: tokenizers[lang].words for lang in tables}
    queries = pick_queries(train["ids"], train["lengths"], words[language])
    pairs = [(language, word) for word in queries]
    return nearest_words(tables, words, pairs, max_id=NEIGHBOUR_IDS)


def _word_tables(params: Any, languages: Iterable[str]) -> dict[str, Any]:
    """The embeddings `[v, e]` of those languages that a BiLSTM encoder has some of."""
    encoder = params.get("encoder", {})
    names = {language: f"embeddings_{language}" for language in languages}
    return {language: encoder[name]["table"] for language, name in names.items() if name in encoder}


def generated_tables(
    model: M1M2,
    variables: Any,
    tokenizer: Tokenizer,
    targets: TargetWords | None,
    train: Arrays,
    documents: Mapping[str, Arrays],
    label_names: Sequence[str],
    *,
    seed: int,
) -> list[dict[str, Any]]:
    """Words per class with z2 from its prior and from documents (the paper's Tables 14 and 15).

    `documents` are the predictions of the split that the examples are taken from, with its ids.
    """
    stop = frequent_words(train["ids"], train["lengths"], tokenizer.vocab_size, share=STOP_SHARE)
    words = tokenizer.words
    if targets:  # the decoder has a vocabulary of its own
        words = tuple(words[i] for i in targets.ids)
        stop = frozenset(np.flatnonzero(np.isin(targets.ids, list(stop))).tolist())
    draws = jax.random.normal(jax.random.key(seed), (DRAWS, model.latent))
    titles = [f"z2 drawn from its prior, draw {i + 1}" for i in range(DRAWS)]
    z2s = [*draws, *documents["output"]["z2"][:EXAMPLES]]
    for ids in documents["input"]["ids"][:EXAMPLES]:
        text = " ".join(tokenizer.decode(ids[None])[0].split()[:20])
        titles.append(f"z2 of the document “{text} …”")
    vary = partial(_varied, model, variables, tokenizer.language, words, label_names, stop)
    return [{"title": title, "rows": vary(z2)} for title, z2 in zip(titles, z2s, strict=True)]


def _varied(
    model: M1M2,
    variables: Any,
    language: str,
    words: Sequence[str],
    label_names: Sequence[str],
    stop: frozenset[int],
    z2: Any,
) -> list[dict[str, Any]]:
    """One z2, every label: z1 is the mean of p(z1 | z2, y), then the decoder."""
    k = len(label_names)
    z1 = model.apply(variables, jnp.tile(z2, (k, 1)), jnp.eye(k), method="imagine")
    if model.decoder == "gru":
        texts = [greedy_text(ids, words).split() for ids in _greedy(model, variables, z1, language)]
    else:
        logits = model.apply(variables, z1, language=language, method="word_logits")
        texts = top_words(np.asarray(logits), words, stop=stop)
    return [{"label": name, "words": text} for name, text in zip(label_names, texts, strict=True)]


def _greedy(model: M1M2, variables: Any, z1: Any, language: str) -> np.ndarray:
    """The most probable next word again and again, from PAD, `[b, SAMPLE_LENGTH]` ids."""
    next_word = jax.jit(
        lambda token, state: model.apply(
            variables, z1, token, state, language=language, method="next_word"
        )
    )
    token, state, tokens = jnp.zeros(len(z1), jnp.int32), None, []
    for _ in range(SAMPLE_LENGTH):
        logits, state = next_word(token, state)
        token = logits.argmax(-1).astype(jnp.int32)
        tokens.append(token)
    return np.stack(tokens, 1)
