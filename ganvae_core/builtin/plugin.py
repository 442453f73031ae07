"""What the builtin plugin offers. It is a plugin like any other, and this module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import ComponentSpec, Kind, hookimpl

ganvae_api = 1

IMAGES = ("jp*g", "jfif", "png", "bmp", "gif", "webp", "tif*", "avif", "p[bgnp]m")
COMPONENTS: dict[Kind, str] = {
    "generator": """
      auto | automatic:auto_generator | resnet for images of 16 pixels and more, else mlp
      resnet | resnet:ResNetGenerator | convolutions with residual blocks and group norm, for images
      mlp | networks:MLPGenerator | fully connected layers, for data of any shape
    """,
    "encoder": """
      auto | automatic:auto_encoder | resnet for images of 16 pixels and more, else mlp
      resnet | resnet:ResNetEncoder | convolutions with residual blocks and group norm, for images
      quantised | quantised:QuantisedEncoder | codes that are entries of a codebook, or rounded to levels
      mlp | networks:MLPEncoder | fully connected layers to a Gaussian posterior
    """,
    "critic": """
      auto | automatic:auto_critic | resnet for images of 16 pixels and more, else mlp
      resnet | resnet:ResNetCritic | convolutions with residual blocks, without normalisation, for images
      mlp | networks:MLPCritic | fully connected layers to one logit
    """,
    "objective": """
      prior-likelihood | prior_likelihood:PriorLikelihood | the likelihood of an encoder's codes, which trains the prior alone
    """,  # noqa: E501
    "prior": """
      normal | priors.continuous:StandardNormal | independent standard normal codes
      uniform | priors.continuous:Uniform | independent uniform codes
      truncated-normal | priors.continuous:TruncatedNormal | independent normal codes, none of them far out
      hypersphere | priors.continuous:Hypersphere | codes uniform on a sphere
      categorical | priors.codes:Categorical | one-hot codes, all classes equally likely
      mixture | priors.codes:Mixture | a Gaussian mixture, trained with the model
      composite | priors.codes:Composite | other priors side by side, each with its own shape
      gaussian-mixture | priors.gaussian_mixture:GaussianMixture | a Gaussian mixture, fitted to the codes after training
      flow | priors.flow:Flow | a normalising flow, trained by its likelihood (ganvae[flows])
      latent-flow | priors.latent_flow:LatentFlow | flow matching on codes, solved by Heun's method
      vamp | priors.vamp:Vamp | the posteriors of learned pseudo-inputs, trained with the model
      autoregressive | priors.autoregressive:Autoregressive | a transformer over the entries of a quantised encoder's codebook
    """,  # noqa: E501
    "observation": """
      auto | observations.basic:auto | fields for tables, Bernoulli where the data has a range, else Gaussian
      bernoulli | observations.basic:Bernoulli | logits of values within the data's range
      gaussian | observations.basic:Gaussian | a normal distribution around the mean
      point | observations.basic:Point | values without a likelihood, as GANs use them
      continuous-bernoulli | observations.further:ContinuousBernoulli | a normalised density of values between two bounds
      categorical | observations.further:CategoricalObservation | one-hot values along the last axis
      negative-binomial | observations.further:NegativeBinomial | counts, with or without additional zeros
      discretised-logistic | observations.discretised:DiscretisedLogistic | levels such as those of 8-bit images, or a mixture of them
      pixelcnn | observations.pixelcnn:PixelCNN | each pixel of a small image given those before it
      fields | fields:Fields | a distribution for each column of a table
    """,  # noqa: E501
    "source": """
      digits | sources.digits:Digits | 1,797 handwritten digits of 8 × 8, with labels
      mnist | sources.named:Mnist | MNIST's handwritten digits, downloaded once
      fashion-mnist | sources.named:FashionMnist | Fashion-MNIST's pictures of clothes, downloaded once
      kmnist | sources.named:Kmnist | Kuzushiji-MNIST's handwritten hiragana, downloaded once
      cifar10 | sources.named:Cifar10 | CIFAR-10's small photographs, downloaded once
      ring | sources.drawn:Ring | 8 Gaussians on a circle: PacGAN's 2D-ring
      grid | sources.drawn:Grid | 25 Gaussians on a grid: PacGAN's 2D-grid
      stacked | sources.drawn:Stacked | three grey images as the channels of one
      shapes | sources.shapes:Shapes | sprites with known factors, in the grid of dSprites
      array | sources.arrays:Arrays | an array in a file
      idx | sources.idx:Idx | IDX files, the format of MNIST, gzipped or not
      folder | sources.folder:Folder | a folder of images, with labels from sub-folders
      parts | sources.parts:parts | shards, columns of images, arrays in several files, read as needed
      table | sources.table:Table | a table with numbers, categories, dates and missing cells
    """,
    "view": """
      image | views.image:ImageView | images: grids, and folders of PNG files
      points | views.points:PointsView | points in the plane: scatter plots
      table | views.table:TableView | tables: marginals, .csv and .parquet files
      array | views.array:ArrayView | arrays of any shape, without pictures
    """,
    "metric": """
      elbo | metrics:Elbo | the evidence lower bound on held-out data, in nats
      reconstruction | metrics:Reconstruction | how far held-out data is from its reconstruction
      nearest-neighbour | metrics:NearestNeighbour | how often the nearest training row, by its code, has a held-out row's label
      coverage | metrics:Coverage | how well samples cover held-out data, and how close they are to it (PRDC)
    """,  # noqa: E501
    "callback": """
      early-stopping | early_stopping:EarlyStopping | ends a run whose held-out result no longer improves
      tensorboard | tensorboard:TensorBoard | curves and samples for TensorBoard (ganvae[tensorboard])
    """,
    "schedule": """
      constant | schedule:Constant | the same value always
      linear | schedule:Linear | a straight line from one value to another
      cosine | schedule:Cosine | half a cosine from one value to another
      cyclical | schedule:Cyclical | several rises, each with a plateau
      warm-up | schedule:WarmUp | a rise from zero, then another schedule
      step | schedule:Step | a value multiplied by a factor every so many rows
    """,
    "optimizer": """
      adam | optimizers:Adam | Adam, fused
      adamw | optimizers:AdamW | Adam with decoupled weight decay, fused
      sgd | optimizers:SGD | stochastic gradient descent, fused
      rmsprop | optimizers:RMSprop | RMSprop
    """,
}
"""By kind a component a line: its name, where its class is below this package, and what it is.

Views are below the core itself.
"""
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
    for kind, lines in COMPONENTS.items():
        package = "ganvae_core" if kind == "view" else "ganvae_core.builtin"
        for line in lines.strip().splitlines():
            name, target, summary = map(str.strip, line.split("|"))
            reads = READS.get(name, ()) if kind == "source" else ()
            found.append(ComponentSpec(kind, name, f"{package}.{target}", summary, reads))
    return found
