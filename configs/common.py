"""The fields that every config shares, with the paper's values (spec §12)."""

from ml_collections import ConfigDict


def _shared() -> ConfigDict:
    config = ConfigDict()
    config.name = ""
    # Which job: pretrain, masked_lm, classify, tag or language_model.
    config.experiment = ""
    config.seed = 0
    # Workdir (or checkpoints folder, or one step in it) of the stage before; "" for random values.
    config.pretrained = ""
    # Data parallelism over the devices (of all processes): jit, or pmap for one process.
    config.parallel = "jit"
    # Matrix products in float32 or bfloat16; parameters stay float32.
    config.dtype = "float32"
    # Write TensorBoard event files as well.
    config.tensorboard = False
    # Write a trace of a few steps into WORKDIR/profile, for TensorBoard or ui.perfetto.dev.
    config.profile = False
    config.learning_rate = 5e-4
    # constant; cosine: down to a twentieth at training.max_steps; or linear: up in rate_warmup
    # steps, then down to 0 at training.max_steps.
    config.rate_schedule = "constant"
    config.rate_warmup = 0
    # Decoupled (AdamW); word tables are left alone.
    config.weight_decay = 0.0

    config.data = ConfigDict()
    # Where the files are.
    config.data.dir = ""
    # Two languages, the first one's label is 1 for the discriminator.
    config.data.languages = ("en", "de")
    # How text becomes words: lower, words, plain_words, europarl (see jaxsdgm.data.tokenizers).
    config.data.normaliser = "europarl"
    # Most frequent words kept, by language.
    config.data.vocab_size = ConfigDict({"en": 40_000, "de": 50_000, "fr": 50_000})

    config.model = ConfigDict()
    config.model.embedding = 300
    config.model.hidden = 600
    config.model.layers = 2
    config.model.dropout = 0.2
    # One vector per document from the BiLSTM: last (the paper), mean or max.
    config.model.pooling = "last"
    # The LSTM's back end: auto, scan, packed (leaves out rows that have ended) or cudnn (CUDA,
    # float32); the last two for a single trial and rows on one device.
    config.model.recurrence = "auto"
    config.model.latent = 300
    # Nats of a latent's divergence that cost nothing (of a word's in tagging); 0: all of it does.
    config.model.free_bits = 0.0

    config.training = ConfigDict()
    # Evaluations without improvement before the run stops; 0: never.
    config.training.patience = 0
    config.training.min_delta = 0.0
    # Parameters that are kept: best (by the development set) or last.
    config.training.select = "best"
    config.training.checkpoint_seconds = 60.0
    return config


def pretraining() -> ConfigDict:
    """NXVAE or SNXVAE on two languages (spec §4)."""
    config = _shared()
    config.experiment = "pretrain"
    config.data.source = "europarl"
    # SNXVAE: pieces of one SentencePiece BPE vocabulary that the languages share; 0: words of each.
    config.data.subwords = 0
    # PEMB: the two languages' lines are sentence pairs, each read and explained as one.
    config.data.pairs = False
    config.data.batch_size = 128
    # Tokens kept of a sentence; 0: the median length of the training sentences.
    config.data.max_length = 0
    config.data.dev_lines = 13_995
    # Beside the paper: documents of the source's classification files (their labels unread) per
    # step, of which windows of `document_length` tokens are encoded and the first 160 decoded.
    config.data.documents_per_step = 0
    config.data.document_length = 80

    # Language discriminator: none, separate (as the paper says), reference (as its code did).
    config.model.adversary = "separate"
    config.model.discriminator_hidden = 1024
    # Weight of the documents' loss beside the sentences'.
    config.model.document_weight = 0.5
    # KL weight: fixed, deterministic (z is the mean, no KL), sigmoid, linear, cyclic, or beta
    # (a growing target).
    config.model.kl = ConfigDict()
    config.model.kl.kind = "fixed"
    config.model.kl.weight = 0.1
    config.model.kl.slope = 5e-5
    config.model.kl.middle_epochs = 4
    config.model.kl.warmup = 10_000
    config.model.kl.period = 10_000
    config.model.kl.capacity = 10.0
    config.model.kl.epochs = 500

    # A step is one update per language.
    config.training.max_steps = 1_000_000
    config.training.eval_every = 2_000
    config.training.patience = 5
    config.training.min_delta = 0.25
    return config


def masked_lm() -> ConfigDict:
    """BERT on two languages (spec §11.1): the paper's BERTW."""
    config = _shared()
    config.experiment = "masked_lm"
    config.learning_rate = 1e-4
    config.rate_schedule = "linear"
    config.rate_warmup = 10_000
    config.weight_decay = 0.01
    # Gradients of a larger norm are scaled down to it.
    config.clip = 1.0
    config.data.source = "europarl"
    # Pieces of one SentencePiece BPE vocabulary; 0: the union of the languages' words.
    config.data.subwords = 0
    # Tokens of a sequence, special ones included; sentences are packed into it.
    config.data.max_length = 200
    # Of the sequences that are shorter.
    config.data.short_share = 0.1
    config.data.batch_size = 32
    config.data.dev_lines = 13_995

    del config.model.embedding, config.model.pooling, config.model.recurrence, config.model.latent
    del config.model.free_bits
    config.model.hidden = 300
    config.model.layers = 12
    config.model.heads = 12
    config.model.feed_forward = 2100
    config.model.positions = 512
    config.model.activation = "gelu"
    # Of hidden states and of attention alike.
    config.model.dropout = 0.1
    # Share of the tokens that are masked, and at most so many of a sequence.
    config.model.masked_share = 0.15
    config.model.max_masked = 30
    # Compute the layers again in the backward pass, to save memory.
    config.model.remat = False

    config.training.max_steps = 1_000_000
    config.training.eval_every = 10_000
    return config


def classification() -> ConfigDict:
    """M1+M2 or a supervised twin (spec §5, §6, §8)."""
    config = _shared()
    config.experiment = "classify"
    # Seeds, of labelled draw and initialisation alike; they train side by side.
    config.trials = 1
    # Values to try, every combination with all trials: (0.1, 0.2); (): what the config says.
    config.sweep = ConfigDict()
    config.sweep.beta, config.sweep.learning_rate = (), ()
    config.sweep.kl_weight, config.sweep.reconstruction_weight = (), ()
    config.sweep.feature_weight, config.sweep.labelled_weight = (), ()
    config.sweep.generation_weight, config.sweep.free_bits = (), ()
    # Workdir of a finished sweep whose best values, by the mean on dev, are taken; "": none.
    config.tuned = ""
    # Word vectors (.vec, .txt, .gz of either; config.model.embedding wide) that the BiLSTM's
    # embeddings start from, as far as the file has the words; "": random values.
    config.vectors = ""
    # Divide the learning rate by `by` after so many evaluations without improvement; 0: never.
    config.rate_division = ConfigDict({"after": 0, "by": 4.0})
    # Adam's second beta.
    config.adam_b2 = 0.999
    # Learning rate of encoder and posterior of z1, relative to the rest.
    config.encoder_rate = 1.0

    # What keeps its first values: "" (nothing), encoder (with the posterior of z1), or embeddings
    # (all word tables of a BiLSTM and of decoders).
    config.frozen = ""

    # Zero-shot (spec §9): a second language, on which the run is tested but not chosen; what stands
    # in data and model is then the source's.
    config.target = ConfigDict()
    # "": there is none.
    config.target.language = ""
    # Labelled documents of the target, if any, and the beta of their cross-entropy.
    config.target.n_labels, config.target.beta = 0, 0.0
    # As config.model's; 0 leaves the documents out.
    config.target.labelled_weight, config.target.unlabelled_weight = 0.0, 1.0
    # Discriminator of the languages: none, separate or reference, as in pretraining.
    config.target.adversary = "none"
    config.target.discriminator_hidden = 1024

    # Self-training of a supervised system once it is trained: its steps (0: none), of which an
    # epoch is a pass over all documents, and those between two evaluations (0: an epoch).
    config.self_training = ConfigDict({"max_steps": 0, "eval_every": 0})
    # Its own labels count where they are at least so probable; of each class only as many as keep
    # the proportions of the labelled documents.
    config.self_training.confidence = 0.0
    config.self_training.balanced = False

    config.encoder = ConfigDict()
    # A BERT-like checkpoint (folder or hub name); "": a BiLSTM of the sizes in config.model.
    config.encoder.checkpoint = ""
    # What that is otherwise: bilstm, or lstm, the encoder of a text VAE (config.pretrained).
    config.encoder.kind = "bilstm"
    # Commit of the hub; "": the newest one. It is recorded in the results.
    config.encoder.revision = ""
    # One vector of a document: cls or mean (the BiLSTM's is config.model.pooling).
    config.encoder.pooling = "cls"
    # Put before every text ("query: " for e5).
    config.encoder.prefix = ""
    # Lower the case of every text first (the paper did, for cased mBERT).
    config.encoder.lower = False
    # Compute a transformer's layers again in the backward pass, to save an accelerator's memory.
    config.encoder.remat = False
    # False: every document is encoded once, and the rest is trained on these features.
    config.encoder.trainable = True

    # mldoc, debian, sib200, files or generated; agnews, dbpedia, imdb or yelp.
    config.data.source = "mldoc"
    config.data.language = "en"
    # Draw a pool of so many labelled documents, whose fifths are for development in turn
    # (data.subset=rotation), and so many texts without labels; 0: no pool.
    config.data.pool, config.data.pool_unlabelled = 0, 0
    # A source whose test documents the run is tested on too (its labels in the same order), their
    # folder, and the tokens that are read of them (0: data.max_length); "": none.
    config.data.out_of_domain = ConfigDict({"source": "", "dir": "", "max_length": 0})
    # The words of a new vocabulary are of "all" training texts, or of those of the training file,
    # "labelled".
    config.data.vocabulary = "all"
    # Empty: the source's own, in its order.
    config.data.label_names = ()
    # MLDoc: 1000, 2000, 5000 or 10000.
    config.data.train_size = 1000
    # Own tables (source files): .tsv, .csv, .jsonl or .parquet, and their columns.
    config.data.train, config.data.dev, config.data.test = "", "", ""
    config.data.text, config.data.label = "text", "label"
    config.data.normaliser = "lower"
    # Labelled documents in all; 0: every document of the training file.
    config.data.n_labels = 32
    # Which ones: paper (first of each class in proportion), stratified (a seeded draw) or rotation
    # (of a pool: the first ones outside the part that is for development).
    config.data.subset = "paper"
    config.data.subset_seed = 0
    # Unlabelled text besides the rest of the training file: "" for none, rest (the Debian corpus's
    # further documents), or a text file with a document a line.
    config.data.unlabelled = ""
    # Labelled documents per step; 0: all.
    config.data.batch_size = 16
    # Unlabelled documents per step; 0: all of them in each pass over the labelled ones.
    config.data.unlabelled_size = 0
    # At most this share of these is of data.unlabelled, the others of the training file.
    config.data.further_share = 1 / 3
    # With model.label_prior=estimated they are left out if they are less than this share of the
    # training file's unlabelled documents.
    config.data.further_least = 0.25
    config.data.max_length = 200
    # Training documents of more than so many GiB stay in the host's memory; those of the next steps
    # are moved to the device while it works on the last ones.
    config.data.resident_gib = 1.0
    # Words that the bag-of-words decoder explains: in at least so many training documents (0: all
    # words), in at most this share of them, each counted at most `cap` times a document (0: all).
    config.data.targets = ConfigDict({"min_documents": 0, "max_share": 1.0, "cap": 0})

    # System: m1m2 or aux; ssvae, ssvae-kl, ssvae-z or ssvae-kl-z; supervised: nxvae_z1 (on z1),
    # nxvae_h or sup_h (both on h), ssvae-sup; or without a neural network of ours: tfidf_lr, nb_em,
    # features_lr.
    config.model.system = "m1m2"
    # Decoder: bow, gru, or none (layer-wise M1+M2, frozen encoder).
    config.model.decoder = "bow"
    # Widths; a GRU as wide as a pretrained embedding explains words by it from the start.
    config.model.gru = ConfigDict({"inputs": 100, "hidden": 50})
    # Of SSVAEs: widths of a label's embedding and of the decoder; how an unknown label is decoded:
    # relaxed, straight-through (both draws) or enumerated (exact, every label); its temperature,
    # and where that goes in so many steps (0: stays); the steps between which the weight of the
    # divergences grows from 0 to model.kl_weight (kl_end 0: at once).
    config.model.ssvae = ConfigDict({"label_embedding": 32, "decoder_hidden": 200})
    config.model.ssvae.labels = "relaxed"
    config.model.ssvae.temperature, config.model.ssvae.temperature_end = 1.0, 1.0
    config.model.ssvae.temperature_steps = 0
    config.model.ssvae.kl_start, config.model.ssvae.kl_end = 3000, 6000
    # One BiLSTM for y and z; KL of z by its draw, sticking the landing.
    config.model.ssvae.share_encoder, config.model.ssvae.stl = False, False
    config.model.tied = False
    # Width of AUX's layers.
    config.model.auxiliary_hidden = 1000
    # How y meets z1 and z2 in M1+M2: transadd, concat, transconcat, gmix_transadd.
    config.model.conditioning = "transadd"
    # Width of the classifier's hidden layer; 0: a linear classifier.
    config.model.classifier_hidden = 1024
    # Gaussian heads: width of their hidden layer (0: as wide as the latent), and its BatchNorm.
    config.model.head_hidden = 0
    config.model.batch_norm = True
    config.model.classifier_dropout = 0.0
    # Weight of the cross-entropy: beta (Nl + Nu) / Nl (scaled), beta (plain), or beta up to 32
    # labels and three times that with more (stepwise).
    config.model.alpha_rule = "scaled"
    config.model.beta = 0.2
    config.model.kl_weight = 1.0
    # Updates in which that grows on a line from 0; 0: it is there at once.
    config.model.kl_warmup = 0
    config.model.reconstruction_weight = 1.0
    # Weight of SSVAE's bound beside the cross-entropy (the paper's 1 / alpha).
    config.model.generation_weight = 1.0
    # Weight of the features' reconstruction beside that of the words (frozen encoders); 0: none.
    config.model.feature_weight = 0.0
    # Weight of the bound of the labelled documents (not of their cross-entropy), and of the
    # unlabelled ones, which 0 leaves out.
    config.model.labelled_weight, config.model.unlabelled_weight = 1.0, 1.0
    # Dropout of the document vector h.
    config.model.feature_dropout = 0.0
    # p(y): uniform, labelled (proportions of the labelled documents), or estimated: uniform, and
    # unlabelled documents of other proportions, found by q(y|x), are weighted to balance them.
    config.model.label_prior = "uniform"
    # Unlabelled documents that share BatchNorm statistics; 0: all of a step.
    config.model.unlabelled_chunk = 0

    config.training.max_steps = 40_000
    # Steps between evaluations; 0: one pass over the labelled documents.
    config.training.eval_every = 0
    config.training.patience = 1000
    return config


def generative(config: ConfigDict, argument: str) -> None:
    """M1+M2 with the decoder that the argument names, or AUX (aux-bow, aux-gru); in place."""
    config.model.system = "aux" if argument.startswith("aux-") else "m1m2"
    config.model.decoder = argument.removeprefix("aux-")


def tagging() -> ConfigDict:
    """VSL or its baseline (paper 3), with the sizes and weights of its code."""
    config = _shared()
    config.experiment = "tag"
    config.learning_rate = 1e-3
    # Learning rates of the classifier, and of the maps to the latent that it reads, relative to
    # the rest.
    config.classifier_rate, config.tag_rate = 1.0, 1.0
    # Gradients of a larger norm are scaled down to it.
    config.clip = 10.0
    # Runs of other seeds, side by side, each with a draw and an initialisation of its own.
    config.trials = 1
    # Values to try, as a grid, each with all trials.
    config.sweep = ConfigDict({"learning_rate": (), "kl_weight": (), "labelled_weight": ()})
    config.sweep.unlabelled_weight, config.sweep.unlabelled_share = (), ()
    config.sweep.free_bits = ()
    # Workdir of a finished sweep whose best values, by the mean on dev, are taken; "": none.
    config.tuned = ""
    # Workdir of a run on the same data whose priors are the first ones; "": N(0, I).
    config.priors = ""
    # Word vectors (.vec, .txt, word2vec's .bin, or .gz) that embeddings start from; "": random.
    config.vectors = ""
    # embeddings: the vectors stay as they are.
    config.frozen = ""

    # ud, twitter or conll2003 (of data.dir, or but for twitter through TFDS if that is empty); or
    # files, of which .conllu is CoNLL-U, and all else a token a line, its tag in the last column.
    config.data.source = "ud"
    config.data.language = "en"
    config.data.train, config.data.dev, config.data.test = "", "", ""
    # Tags are spans (IOB1, IOB2 or BIOES), scored by F1 of entities.
    config.data.entities = False
    config.data.digits_to_zero = False
    # Shares of the training sentences that keep their tags, and that are there without.
    config.data.labelled_share, config.data.unlabelled_share = 1.0, 0.0
    config.data.subset_seed = 0
    # Further sentences, one a line, their tokens parted by white space, and how many (0: all).
    config.data.unlabelled, config.data.unlabelled_count = "", 0
    # Most frequent words and characters kept; words of "train" or of dev and test too
    # ("transductive", as the paper's code); with vectors, those that these have.
    del config.data.languages, config.data.normaliser, config.data.vocab_size
    config.data.vocab_size, config.data.characters = 1_000_000, 300
    config.data.vocabulary = "train"
    # Characters read of a word; tokens of a training sentence (0: all).
    config.data.max_characters, config.data.max_length = 30, 0
    # Sentences of each kind in a step.
    config.data.batch_size = config.data.unlabelled_size = 10

    for name in ("layers", "dropout", "pooling"):
        del config.model[name]
    # bigru, vsl-g, vsl-gg-flat or vsl-gg-hier, which reads the tag off y or z.
    config.model.system = "vsl-gg-hier"
    config.model.classify = "y"
    # False: latents are the posterior means, and there is no divergence.
    config.model.variational = True
    config.model.embedding, config.model.hidden = 100, 100
    config.model.character_embedding, config.model.character_hidden = 50, 100
    config.model.latent, config.model.tag_latent = 50, 25
    config.model.decoder_hidden, config.model.decoder_layers = 100, 2
    # The decoder's output table is that of the embeddings.
    config.model.tied = True
    # The map to the latent that the classifier reads starts orthogonal.
    config.model.orthogonal = False
    # Share of the words with a tag once or never that the encoder reads as unknown.
    config.model.unknown_rate = 0.0
    # The weight of the divergences is kl_weight min(exp(kl_rate step) - 1, 1).
    config.model.kl_rate, config.model.kl_weight = 1e-4, 1.0
    # Weights of the bounds of labelled and of unlabelled sentences (the paper's alpha).
    config.model.labelled_weight, config.model.unlabelled_weight = 1.0, 0.1
    # Visits of a sentence between two replacements of its priors.
    config.model.update_every_labelled, config.model.update_every_unlabelled = 1, 1

    config.training.max_steps = 30_000
    config.training.eval_every = 1_000
    return config


def language_model() -> ConfigDict:
    """A text VAE or an LSTM language model (paper 4), with the values of its code on PTB."""
    config = _shared()
    config.experiment = "language_model"
    # sgd or adam; gradients of a larger norm are scaled down to it.
    config.optimizer, config.learning_rate, config.clip = "sgd", 0.5, 5.0
    del config.rate_schedule, config.rate_warmup, config.weight_decay
    # Train an autoencoder first, whose encoder this one starts from (config.pretrained: of a run
    # that is there).
    config.pretrain_encoder = False
    # Bring the encoder up to the decoder before each of its steps (He et al. 2019).
    config.aggressive = False
    # Runs of other seeds, side by side.
    config.trials = 1
    # Values to try, as a grid, each with all trials.
    config.sweep = ConfigDict({"learning_rate": (), "kl_weight": (), "free_bits": ()})
    # Workdir of a finished sweep whose best values, by the mean on dev, are taken; "": none.
    config.tuned = ""
    # The learning rate falls by `factor`, and the best parameters come back, after `patience`
    # epochs that are no better, from epoch `first` on (from 0); the run ends with fall `decays`
    # (0: none).
    config.plateau = ConfigDict({"patience": 5, "first": 15, "factor": 0.5, "decays": 5})
    # Measure the latent space: BLEU, smoothness, noise, copying, clusters, linear probes.
    config.probes = False
    # Draws of each test sentence's latent for its likelihood, and at a time.
    config.evaluation = ConfigDict({"samples": 1000, "chunk": 500})

    # ptb, yahoo, snli, yelp or files: the folder data.dir with train.txt, valid.txt and test.txt
    # (snli and yelp also through TFDS, where it is empty).
    config.data.source = "files"
    # Lines are a label, a tab and the sentence; yelp's always are.
    config.data.labelled = False
    # Words that train has less often are read as <unk>.
    config.data.min_count = 1
    # Words kept of a sentence; 0: all.
    config.data.max_words = 0
    # Of the sentences that are drawn from TFDS's.
    config.data.sample_seed = 0
    config.data.batch_size = 32
    del config.data.languages, config.data.normaliser, config.data.vocab_size

    for name in ("layers", "pooling"):
        del config.model[name]
    for name in ("patience", "min_delta", "select"):
        del config.training[name]
    config.training.max_epochs = 100
    config.model.embedding, config.model.hidden, config.model.latent = 256, 256, 32
    config.model.dropout = 0.5
    # The weight of the divergence grows on a line over so many epochs (0: at once), or on one that
    # starts again every kl_cycle_epochs.
    config.model.kl_weight, config.model.kl_warmup_epochs = 1.0, 0
    config.model.kl_cycle_epochs = 0
    # Where it is free below model.free_bits nats: none, dimension (a share of them in each),
    # sentence, or batch (its mean).
    config.model.free_bits_of = "none"
    # Draws of the importance-weighted bound; 1: the plain one.
    config.model.importance_samples = 1
    return config


EMBEDDINGS = ("rand", "vectors")


def embeddings_only(config: ConfigDict, kind: str, *, normaliser: str) -> None:
    """NXVAE-z1 without NXVAE: all is fresh, or all but the embeddings (the paper's Table 2).

    `normaliser` is that of the NXVAE it is compared with, which brings its own.
    """
    config.model.system = "nxvae_z1"
    config.data.normaliser = normaliser
    # a file that is not there until --config.vectors names one
    config.vectors = f"{config.data.language}.vec" if kind == "vectors" else ""
