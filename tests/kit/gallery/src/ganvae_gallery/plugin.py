"""What the gallery offers."""

from ganvae_core.plugins import ComponentSpec, RecipeSpec, hookimpl

ganvae_api = 1

COMPONENTS = (
    ("prior", "vamp", "priors:Vamp"),
    ("prior", "ring", "priors:Ring"),
    ("prior", "circle", "priors:Circle"),
    ("prior", "bits", "priors:Bits"),
    ("prior", "by-condition", "priors:ByCondition"),
    ("prior", "half", "priors:HalfNormal"),
    ("prior", "mean-and-scale", "priors:MeanAndScale"),
    ("observation", "levels", "observations:Levels"),
    ("observation", "two-numbers", "observations:TwoNumbers"),
    ("observation", "between", "observations:Between"),
    ("encoder", "laplace", "networks:LaplaceEncoder"),
    ("encoder", "noisy", "networks:NoisyEncoder"),
    ("generator", "convolutions", "networks:Convolutions"),
    ("generator", "from-zero", "networks:FromZero"),
    ("critic", "batch-statistics", "networks:BatchStatistics"),
    ("objective", "importance", "objectives:Importance"),
    ("objective", "sliced", "objectives:Sliced"),
    ("objective", "teacher", "objectives:Teacher"),
    ("objective", "critic-of-its-own", "objectives:OwnCritic"),
    ("encoder", "centred", "paired:CentredEncoder"),
    ("objective", "centred", "paired:Centred"),
    ("prior", "counts", "paired:Counts"),
    ("source", "tones", "others:Tones"),
    ("source", "recording", "others:Recording"),
    ("schedule", "halving", "others:Halving"),
    ("view", "raw", "others:Raw"),
    ("metric", "error", "others:Error"),
    ("callback", "patience", "others:Patience"),
    ("callback", "diary", "others:Diary"),
)
READS = {"recording": ("*.raw",)}


@hookimpl
def ganvae_components():
    return [
        ComponentSpec(kind, name, f"ganvae_gallery.{target}", name.replace("-", " "), READS.get(name, ()))
        for kind, name, target in COMPONENTS
    ]


@hookimpl
def ganvae_recipes():
    return [RecipeSpec("gallery", "recipes/gallery.yaml", "components that need one another")]
