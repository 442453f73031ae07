"""What the builtin plugin offers. It is a plugin like any other, and this module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import ComponentSpec, Kind, hookimpl

ganvae_api = 1

IMAGES = ("jp*g", "jfif", "png", "bmp", "gif", "webp", "tif*", "avif", "p[bgnp]m")
COMPONENTS: dict[tuple[Kind, str], dict[str, tuple[str, str]]] = {
    ("generator", "builtin.automatic"): {
        "auto": ("auto_generator", "resnet for images of 16 pixels and more, else mlp")
    },
    ("encoder", "builtin.automatic"): {
        "auto": ("auto_encoder", "resnet for images of 16 pixels and more, else mlp")
    },
    ("critic", "builtin.automatic"): {
        "auto": ("auto_critic", "resnet for images of 16 pixels and more, else mlp")
    },
    ("generator", "builtin.resnet"): {
        "resnet": ("ResNetGenerator", "convolutions with residual blocks and group norm, for images")
    },
    ("encoder", "builtin.resnet"): {
        "resnet": ("ResNetEncoder", "convolutions with residual blocks and group norm, for images")
    },
    ("critic", "builtin.resnet"): {
        "resnet": ("ResNetCritic", "convolutions with residual blocks, without normalisation, for images")
    },
    ("encoder", "builtin.quantised"): {
        "quantised": ("QuantisedEncoder", "codes that are entries of a codebook, or rounded to levels")
    },
    ("objective", "builtin.prior_likelihood"): {
        "prior-likelihood": (
            "PriorLikelihood",
            "the likelihood of an encoder's codes, which trains the prior alone",
        )
    },
    ("generator", "builtin.networks"): {
        "mlp": ("MLPGenerator", "fully connected layers, for data of any shape")
    },
    ("encoder", "builtin.networks"): {
        "mlp": ("MLPEncoder", "fully connected layers to a Gaussian posterior")
    },
    ("critic", "builtin.networks"): {"mlp": ("MLPCritic", "fully connected layers to one logit")},
    ("prior", "builtin.priors.continuous"): {
        "normal": ("StandardNormal", "independent standard normal codes"),
        "uniform": ("Uniform", "independent uniform codes"),
        "truncated-normal": ("TruncatedNormal", "independent normal codes, none of them far out"),
        "hypersphere": ("Hypersphere", "codes uniform on a sphere"),
    },
    ("prior", "builtin.priors.codes"): {
        "categorical": ("Categorical", "one-hot codes, all classes equally likely"),
        "mixture": ("Mixture", "a Gaussian mixture, trained with the model"),
        "composite": ("Composite", "other priors side by side, each with its own shape"),
    },
    ("prior", "builtin.priors.gaussian_mixture"): {
        "gaussian-mixture": ("GaussianMixture", "a Gaussian mixture, fitted to the codes after training")
    },
    ("prior", "builtin.priors.flow"): {
        "flow": ("Flow", "a normalising flow, trained by its likelihood (ganvae[flows])")
    },
    ("prior", "builtin.priors.latent_flow"): {
        "latent-flow": ("LatentFlow", "flow matching on codes, solved by Heun's method")
    },
    ("prior", "builtin.priors.vamp"): {
        "vamp": ("Vamp", "the posteriors of learned pseudo-inputs, trained with the model")
    },
    ("prior", "builtin.priors.autoregressive"): {
        "autoregressive": (
            "Autoregressive",
            "a transformer over the entries of a quantised encoder's codebook",
        )
    },
    ("observation", "builtin.observations.basic"): {
        "auto": ("auto", "fields for tables, Bernoulli where the data has a range, else Gaussian"),
        "bernoulli": ("Bernoulli", "logits of values within the data's range"),
        "gaussian": ("Gaussian", "a normal distribution around the mean"),
        "point": ("Point", "values without a likelihood, as GANs use them"),
    },
    ("observation", "builtin.observations.further"): {
        "continuous-bernoulli": ("ContinuousBernoulli", "a normalised density of values between two bounds"),
        "categorical": ("CategoricalObservation", "one-hot values along the last axis"),
        "negative-binomial": ("NegativeBinomial", "counts, with or without additional zeros"),
    },
    ("observation", "builtin.observations.discretised"): {
        "discretised-logistic": (
            "DiscretisedLogistic",
            "levels such as those of 8-bit images, or a mixture of them",
        )
    },
    ("observation", "builtin.observations.pixelcnn"): {
        "pixelcnn": ("PixelCNN", "each pixel of a small image given those before it")
    },
    ("observation", "builtin.fields"): {"fields": ("Fields", "a distribution for each column of a table")},
    ("source", "builtin.sources.digits"): {
        "digits": ("Digits", "1,797 handwritten digits of 8 × 8, with labels")
    },
    ("source", "builtin.sources.named"): {
        "mnist": ("Mnist", "MNIST's handwritten digits, downloaded once"),
        "fashion-mnist": ("FashionMnist", "Fashion-MNIST's pictures of clothes, downloaded once"),
        "kmnist": ("Kmnist", "Kuzushiji-MNIST's handwritten hiragana, downloaded once"),
        "cifar10": ("Cifar10", "CIFAR-10's small photographs, downloaded once"),
    },
    ("source", "builtin.sources.drawn"): {
        "ring": ("Ring", "8 Gaussians on a circle: PacGAN's 2D-ring"),
        "grid": ("Grid", "25 Gaussians on a grid: PacGAN's 2D-grid"),
        "stacked": ("Stacked", "three grey images as the channels of one"),
    },
    ("source", "builtin.sources.shapes"): {
        "shapes": ("Shapes", "sprites with known factors, in the grid of dSprites")
    },
    ("source", "builtin.sources.arrays"): {"array": ("Arrays", "an array in a file")},
    ("source", "builtin.sources.idx"): {"idx": ("Idx", "IDX files, the format of MNIST, gzipped or not")},
    ("source", "builtin.sources.folder"): {
        "folder": ("Folder", "a folder of images, with labels from sub-folders")
    },
    ("source", "builtin.sources.parts"): {
        "parts": ("parts", "shards, columns of images, arrays in several files, read as needed")
    },
    ("source", "builtin.sources.table"): {
        "table": ("Table", "a table with numbers, categories, dates and missing cells")
    },
    ("view", "views.image"): {"image": ("ImageView", "images: grids, and folders of PNG files")},
    ("view", "views.points"): {"points": ("PointsView", "points in the plane: scatter plots")},
    ("view", "views.table"): {"table": ("TableView", "tables: marginals, .csv and .parquet files")},
    ("view", "views.array"): {"array": ("ArrayView", "arrays of any shape, without pictures")},
    ("metric", "builtin.metrics"): {
        "elbo": ("Elbo", "the evidence lower bound on held-out data, in nats"),
        "reconstruction": ("Reconstruction", "how far held-out data is from its reconstruction"),
        "nearest-neighbour": (
            "NearestNeighbour",
            "how often the nearest training row, by its code, has a held-out row's label",
        ),
        "coverage": ("Coverage", "how well samples cover held-out data, and how close they are to it (PRDC)"),
    },
    ("callback", "builtin.early_stopping"): {
        "early-stopping": ("EarlyStopping", "ends a run whose held-out result no longer improves")
    },
    ("callback", "builtin.tensorboard"): {
        "tensorboard": ("TensorBoard", "curves and samples for TensorBoard (ganvae[tensorboard])")
    },
    ("schedule", "builtin.schedule"): {
        "constant": ("Constant", "the same value always"),
        "linear": ("Linear", "a straight line from one value to another"),
        "cosine": ("Cosine", "half a cosine from one value to another"),
        "cyclical": ("Cyclical", "several rises, each with a plateau"),
        "warm-up": ("WarmUp", "a rise from zero, then another schedule"),
        "step": ("Step", "a value multiplied by a factor every so many rows"),
    },
    ("optimizer", "builtin.optimizers"): {
        "adam": ("Adam", "Adam, fused"),
        "adamw": ("AdamW", "Adam with decoupled weight decay, fused"),
        "sgd": ("SGD", "stochastic gradient descent, fused"),
        "rmsprop": ("RMSprop", "RMSprop"),
    },
}
"""By kind and module of the core: for each name the class and a line for people."""
READS = {
    "array": ("*.npy", "*.npz"),
    "idx": ("*-ubyte", "*-ubyte.gz", "*.idx", "*.idx.gz"),
    "folder": ("*/", *(f"*/**/*.{ending}" for ending in IMAGES), *(f"*.{ending}" for ending in IMAGES)),
    "parts": (
        "*.tar",
        "*/*.tar",
        "*/*.npy",
        "*/*-ubyte",
        "*/*.idx",
        "*/*.parquet",
        "*/*.arrow",
        "*/dataset_dict.json",
    ),
    "table": ("*.csv", "*.tsv", "*.csv.gz", "*.tsv.gz", "*.parquet", "*.feather"),
}
"""Patterns of the paths that sources read."""


@hookimpl
def ganvae_components() -> list[ComponentSpec]:
    found: list[ComponentSpec] = []
    for (kind, module), components in COMPONENTS.items():
        for name, (target, summary) in components.items():
            reads = READS.get(name, ()) if kind == "source" else ()
            found.append(ComponentSpec(kind, name, f"ganvae_core.{module}:{target}", summary, reads))
    return found
