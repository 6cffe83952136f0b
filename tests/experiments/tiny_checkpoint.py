"""A small transformer with random weights, and a tokenizer of the generated corpus's words."""

import json

import jax
import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from jaxsdgm.data import generated
from jaxsdgm.data.tokenizers import words
from jaxsdgm.layers.bert import BertEncoder, BertSize
from jaxsdgm.weights.huggingface import save_checkpoint

SPECIAL = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
WORDS, WIDTH = 1319, 16
#: of the table of embeddings: more than there are words, as published ones often have
ROWS = WORDS + 5


def make(folder):
    """A BERT of one layer, in Hugging Face's form."""
    folder.mkdir()
    size = BertSize(ROWS, WIDTH, 1, 2, 16, 32)
    config = {
        "model_type": "bert",
        "vocab_size": ROWS,
        "hidden_size": WIDTH,
        "num_hidden_layers": 1,
    }
    config |= {"num_hidden_layers": 1, "num_attention_heads": 2}
    config |= {"intermediate_size": 16, "max_position_embeddings": 32}
    (folder / "config.json").write_text(json.dumps(config))
    texts = generated.generate("en", unlabelled=0, seed=0).splits["train"].texts
    found = sorted({word for text in texts for word in words(text, "en")})
    vocab = [*SPECIAL.values(), *found][:WORDS]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(vocab)}, "[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.add_special_tokens(list(SPECIAL.values()))
    tokenizer.save(str(folder / "tokenizer.json"))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", **SPECIAL}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    ids, lengths, row = np.ones((2, 4), np.int32), np.full(2, 4), np.arange(2)
    params = BertEncoder(size).init(jax.random.key(0), ids, lengths, row, train=False)["params"]
    # random weights of the usual size say nothing; larger ones keep the words apart
    save_checkpoint(folder, jax.tree.map(lambda x: 5 * x, params), size, folder)
    return folder
