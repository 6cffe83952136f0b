"""An invented language whose words show their tags by their endings and their places."""

import numpy as np

from configs import vsl_ud

TAGS = {"NOUN": "on", "VERB": "it", "ADJ": "al", "DET": "u"}
ORDER = ("DET", "ADJ", "NOUN", "VERB")


def sentences(n, seed, *, shuffled=False):
    """Pairs of words and tags; a fifth of the words has no ending, so that only places tell."""
    rng = np.random.default_rng(seed)
    stems = ["".join(x) for x in np.random.default_rng(0).choice([*"bdfgklmnprst"], (30, 3))]
    found = []
    for _ in range(n):
        tags = [ORDER[(i + rng.integers(0, 4)) % 4] for i in range(1)]
        while len(tags) < rng.integers(2, 9):
            tags.append(ORDER[(ORDER.index(tags[-1]) + 1) % 4])
        ends = [TAGS[tag] if rng.random() < 0.8 else "" for tag in tags]
        words = [f"{rng.choice(stems)}{end}" for end in ends]
        found.append((words, list(rng.permutation(tags)) if shuffled else tags))
    if shuffled:  # over the corpus, so that nothing is left to learn
        every = rng.permutation([tag for _, tags in found for tag in tags]).tolist()
        found = [(words, [every.pop() for _ in words]) for words, _ in found]
    return found


def write(path, found):
    blocks = []
    for words, tags in found:
        pairs = enumerate(zip(words, tags, strict=True), 1)
        lines = [f"{i}\t{word}\t_\t{tag}" + "\t_" * 6 for i, (word, tag) in pairs]
        blocks.append("\n".join(lines))
    path.write_text("\n\n".join(blocks), encoding="utf-8")


def corpus(folder, *, train=60, shuffled=False):
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "x-train.conllu", sentences(train, 1, shuffled=shuffled))
    write(folder / "x-dev.conllu", sentences(30, 2))
    write(folder / "x-test.conllu", sentences(30, 3))
    return folder


def config(folder, system="hier", **fields):
    found = vsl_ud.get_config(f"german,{system}")
    found.data.dir = str(folder)
    found.data.batch_size = found.data.unlabelled_size = 4
    found.model.embedding, found.model.hidden = 6, 5
    found.model.character_embedding, found.model.character_hidden = 4, 3
    found.model.latent, found.model.tag_latent, found.model.decoder_hidden = 4, 3, 5
    found.model.recurrence = "scan"
    found.training.max_steps, found.training.eval_every = 4, 2
    found.update_from_flattened_dict(fields)
    return found
