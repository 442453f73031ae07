"""What the builtin plugin offers. It is a plugin like any other, and this module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import ComponentSpec, Kind, hookimpl

ganvae_api = 1


def component(kind: Kind, name: str, target: str, summary: str, reads: tuple[str, ...] = ()) -> ComponentSpec:
    """A component that lies in this package."""
    return ComponentSpec(kind, name, f"ganvae_core.builtin.{target}", summary, reads)


@hookimpl
def ganvae_components() -> list[ComponentSpec]:
    return [
        *networks(),
        *distributions(),
        *sources(),
        *views(),
        *metrics(),
        *callbacks(),
        *schedules(),
        *optimizers(),
    ]


def networks() -> list[ComponentSpec]:
    return [
        component(
            "generator", "mlp", "networks:MLPGenerator", "fully connected layers, for data of any shape"
        ),
        component("encoder", "mlp", "networks:MLPEncoder", "fully connected layers to a Gaussian posterior"),
        component("critic", "mlp", "networks:MLPCritic", "fully connected layers to one logit"),
    ]


def distributions() -> list[ComponentSpec]:
    return [
        component("prior", "normal", "priors.continuous:StandardNormal", "independent standard normal codes"),
        component("prior", "uniform", "priors.continuous:Uniform", "independent uniform codes"),
        component(
            "prior",
            "truncated-normal",
            "priors.continuous:TruncatedNormal",
            "independent normal codes, none of them far out",
        ),
        component("prior", "hypersphere", "priors.continuous:Hypersphere", "codes uniform on a sphere"),
        component(
            "prior", "categorical", "priors.codes:Categorical", "one-hot codes, all classes equally likely"
        ),
        component("prior", "mixture", "priors.codes:Mixture", "a Gaussian mixture, trained with the model"),
        component(
            "prior",
            "gaussian-mixture",
            "priors.gaussian_mixture:GaussianMixture",
            "a Gaussian mixture, fitted to the codes after training",
        ),
        component(
            "prior",
            "flow",
            "priors.flow:Flow",
            "a normalising flow, trained by its likelihood (ganvae[flows])",
        ),
        component(
            "prior",
            "composite",
            "priors.codes:Composite",
            "other priors side by side, each with its own shape",
        ),
        component(
            "observation", "auto", "observations:auto", "Bernoulli where the data has a range, else Gaussian"
        ),
        component(
            "observation", "bernoulli", "observations:Bernoulli", "logits of values within the data's range"
        ),
        component(
            "observation", "gaussian", "observations:Gaussian", "a normal distribution around the mean"
        ),
        component(
            "observation", "point", "observations:Point", "values without a likelihood, as GANs use them"
        ),
    ]


def sources() -> list[ComponentSpec]:
    return [
        component(
            "source", "digits", "sources.digits:Digits", "1,797 handwritten digits of 8 × 8, with labels"
        ),
        component("source", "mnist", "sources.named:Mnist", "MNIST's handwritten digits, downloaded once"),
        component(
            "source",
            "fashion-mnist",
            "sources.named:FashionMnist",
            "Fashion-MNIST's pictures of clothes, downloaded once",
        ),
        component(
            "source",
            "kmnist",
            "sources.named:Kmnist",
            "Kuzushiji-MNIST's handwritten hiragana, downloaded once",
        ),
        component(
            "source", "cifar10", "sources.named:Cifar10", "CIFAR-10's small photographs, downloaded once"
        ),
        component("source", "ring", "sources.drawn:Ring", "8 Gaussians on a circle: PacGAN's 2D-ring"),
        component("source", "grid", "sources.drawn:Grid", "25 Gaussians on a grid: PacGAN's 2D-grid"),
        component("source", "stacked", "sources.drawn:Stacked", "three grey images as the channels of one"),
        component("source", "array", "sources.arrays:Arrays", "an array in a file", ("*.npy", "*.npz")),
        component(
            "source",
            "idx",
            "sources.idx:Idx",
            "IDX files, the format of MNIST, gzipped or not",
            ("*-ubyte", "*-ubyte.gz", "*.idx", "*.idx.gz"),
        ),
        component(
            "source",
            "folder",
            "sources.folder:Folder",
            "a folder of images, with labels from sub-folders",
            ("*/", *(f"*/**/*.{ending}" for ending in ("jp*g", "png", "bmp", "gif", "webp", "tif*"))),
        ),
        component(
            "source",
            "table",
            "sources.table:Table",
            "a table of numbers, standardised by column",
            ("*.csv", "*.tsv", "*.parquet"),
        ),
    ]


def views() -> list[ComponentSpec]:
    at = "ganvae_core.views"
    return [
        ComponentSpec("view", "image", f"{at}.image:ImageView", "images: grids, and folders of PNG files"),
        ComponentSpec("view", "points", f"{at}.points:PointsView", "points in the plane: scatter plots"),
        ComponentSpec("view", "table", f"{at}.table:TableView", "tables: marginals, .csv and .parquet files"),
        ComponentSpec("view", "array", f"{at}.array:ArrayView", "arrays of any shape, without pictures"),
    ]


def metrics() -> list[ComponentSpec]:
    return [
        component("metric", "elbo", "metrics:Elbo", "the evidence lower bound on held-out data, in nats"),
        component(
            "metric",
            "reconstruction",
            "metrics:Reconstruction",
            "how far held-out data is from its reconstruction",
        ),
        component(
            "metric",
            "nearest-neighbour",
            "metrics:NearestNeighbour",
            "how often the nearest training row, by its code, has a held-out row's label",
        ),
        component(
            "metric",
            "coverage",
            "metrics:Coverage",
            "how well samples cover held-out data, and how close they are to it (PRDC)",
        ),
    ]


def callbacks() -> list[ComponentSpec]:
    return [
        component(
            "callback",
            "early-stopping",
            "early_stopping:EarlyStopping",
            "ends a run whose held-out result no longer improves",
        ),
        component(
            "callback",
            "tensorboard",
            "tensorboard:TensorBoard",
            "curves and samples for TensorBoard (ganvae[tensorboard])",
        ),
    ]


def schedules() -> list[ComponentSpec]:
    return [
        component("schedule", "constant", "schedule:Constant", "the same value always"),
        component("schedule", "linear", "schedule:Linear", "a straight line from one value to another"),
        component("schedule", "cosine", "schedule:Cosine", "half a cosine from one value to another"),
        component("schedule", "cyclical", "schedule:Cyclical", "several rises, each with a plateau"),
        component("schedule", "warm-up", "schedule:WarmUp", "a rise from zero, then another schedule"),
        component("schedule", "step", "schedule:Step", "a value multiplied by a factor every so many rows"),
    ]


def optimizers() -> list[ComponentSpec]:
    return [
        component("optimizer", "adam", "optimizers:Adam", "Adam, fused"),
        component("optimizer", "adamw", "optimizers:AdamW", "Adam with decoupled weight decay, fused"),
        component("optimizer", "sgd", "optimizers:SGD", "stochastic gradient descent, fused"),
        component("optimizer", "rmsprop", "optimizers:RMSprop", "RMSprop"),
    ]
