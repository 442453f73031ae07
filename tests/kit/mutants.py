"""Plugins that break one promise each: the specimen with a line changed, and the check that must notice."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

SPECIMEN = Path(__file__).with_name("specimen")
PACKAGE = "ganvae_specimen"


@dataclass(frozen=True)
class Mutant:
    """The specimen with one change.

    Args:
        name: what is wrong with it.
        file: below the package; ``../..`` leads to the project.
        before: text that is replaced, once.
        after: what it is replaced by.
        check: the name of the check that must fail, the only one.
        marker: text on the line that the failure must name; by default the first changed line.
        marker_file: where that line is, if not in the changed file.
        said: a pattern that the message must match.
    """

    name: str
    file: str
    before: str
    after: str
    check: str
    said: str
    marker: str = ""
    marker_file: str = ""

    def write(self, folder: Path, package: str = PACKAGE) -> Path:
        """Write the mutant as a project under another package name; the folder of it."""
        project = write_specimen(folder, package)
        target = (project / "src" / package / self.file).resolve()
        text = target.read_text("utf-8")
        before, after = self.before.replace(PACKAGE, package), self.after.replace(PACKAGE, package)
        assert text.count(before) == 1, f"{self.name}: the text to be changed is there {text.count(before)} times"
        target.write_text(text.replace(before, after), "utf-8")
        return project

    def line(self, project: Path, package: str = PACKAGE) -> tuple[str, int]:
        """The file and the line that the failure must name."""
        target = (project / "src" / package / (self.marker_file or self.file)).resolve()
        changed = next(
            line
            for line in self.after.splitlines()
            if line.strip() and line.strip() not in {old.strip() for old in self.before.splitlines()}
        ) if not self.marker else self.marker  # fmt: skip
        wanted = changed.strip().replace(PACKAGE, package)
        lines = target.read_text("utf-8").splitlines()
        return str(target), next(number for number, line in enumerate(lines, 1) if wanted in line)


def write_specimen(folder: Path, package: str = PACKAGE) -> Path:
    """The specimen as a project, under another package name."""
    project = folder / "project"
    shutil.copytree(SPECIMEN, project, ignore=shutil.ignore_patterns("__pycache__"))
    if package != PACKAGE:
        (project / "src" / PACKAGE).rename(project / "src" / package)
        for path in project.rglob("*"):
            if path.suffix in (".py", ".toml"):
                path.write_text(re.sub(rf"\b{PACKAGE}\b", package, path.read_text("utf-8")), "utf-8")
    return project


DESCRIPTION = [
    Mutant("a name that is reserved", "../../pyproject.toml", 'specimen = "', 'vae = "', "entry-point", "claimed by ganvae"),
    Mutant("another core API", "plugin.py", "ganvae_api = 1", "ganvae_api = 2", "api", "written for core API 2"),
    Mutant("no core API", "plugin.py", "ganvae_api = 1", "other_api = 1", "api", "does not say which core API",
           "What the specimen offers"),
    Mutant("torch in the description", "plugin.py", "from ganvae_core.plugins import", "import torch  # noqa\nfrom ganvae_core.plugins import",
           "imports-no-torch", "imports torch"),
    Mutant("torch through another module", "__init__.py", '"""A plugin', f'from {PACKAGE} import networks\n"""A plugin',
           "imports-no-torch", "imports torch", "from"),
    Mutant("a misspelt hook", "plugin.py", "def ganvae_recipes()", "def ganvae_recepies()", "hook-names", "Did you mean 'ganvae_recipes'",
           "def ganvae_recepies"),
    Mutant("a hook without its mark", "plugin.py", "@hookimpl\ndef ganvae_recipes()", "def ganvae_recipes()", "hook-names",
           "never called", "def ganvae_recipes"),
    Mutant("a hook with another signature", "plugin.py", "def ganvae_recipes()", "def ganvae_recipes(plugin_name)",
           "hook-signatures", "plugin_name"),
    Mutant("a hook that raises", "plugin.py", "    return [RecipeSpec(", "    raise OSError('no such luck')\n    return [RecipeSpec(",
           "descriptions", "no such luck"),
    Mutant("a component's name in capitals", "plugin.py", '"tally"', '"Tally"', "descriptions", "lower-case"),
    Mutant("two components of one name", "plugin.py", 'ComponentSpec("callback", "tally"', 'ComponentSpec("metric", "spread"',
           "descriptions", "there twice", 'ComponentSpec("metric", "spread"'),
    Mutant("a recipe that is not there", "plugin.py", "recipes/specimen.yaml", "recipes/missing.yaml", "descriptions", "no file"),
    Mutant("no default recipe", "plugin.py", 'RecipeSpec("specimen"', 'RecipeSpec("other"', "offers-something", "nothing to run"),
    Mutant("a syntax error", "plugin.py", "ganvae_api = 1", "ganvae_api = = 1", "entry-point", "SyntaxError"),
    Mutant("a package that is missing", "plugin.py", "ganvae_api = 1", "import ganvae_nowhere  # noqa\n\nganvae_api = 1",
           "entry-point", "ModuleNotFoundError"),
]  # fmt: skip

DECLARATION = [
    Mutant("a target that is not there", "plugin.py", "watchers:Tally", "watchers:Tolly", "target", "cannot be imported"),
    Mutant("a class of another kind", "plugin.py", 'ComponentSpec("callback", "tally", "ganvae_specimen.watchers:Tally"',
           'ComponentSpec("callback", "tally", "ganvae_specimen.watchers:Spread"', "target", "does not derive from Callback",
           "class Spread", "watchers.py"),
    Mutant("an abstract method", "watchers.py", "    def compute(", "    def calculate(", "target", "does not implement compute",
           "class Spread"),
    Mutant("an option without a type", "objective.py", "noise: float = 0.1", "noise=0.1", "options", "has no type",
           "noise=0.1"),
    Mutant("a default of another type", "networks.py", "        *,\n        width: int = 12,", "        *,\n        width: int = None,",
           "options", "null is not possible", "width: int = None"),
    Mutant("a fact that there is none of", "densities.py", "def __init__(self, latent_shape: Sequence[int])",
           "def __init__(self, latent_shape: Sequence[int], size)", "facts", "asks for 'size'"),
    Mutant("a network that crashes when it is made", "networks.py", "self.latent_shape = tuple(latent_shape)\n        size = math",
           'self.latent_shape = tuple(latent_shape)\n        raise ValueError("oh")\n        size = math', "makes",
           "for no data"),
]  # fmt: skip

MODULES = [
    Mutant("a wrong shape", "networks.py", "return self.head(hidden).reshape(-1, *self.raw_shape)",
           "return self.head(hidden)", "shapes", "has the shape"),
    Mutant("a crash for one row", "networks.py", "return self.head(self.features(x, condition)).squeeze(1)",
           "return self.head(self.features(x, condition)).squeeze().reshape(-1)[: max(2, len(x))].view(max(2, len(x)))",
           "shapes", "a batch of 1"),
    Mutant("a last axis that is squeezed away for one row", "networks.py",
           "return self.head(self.features(x, condition)).squeeze(1)",
           "return self.head(self.features(x, condition)).squeeze()", "shapes", r"a batch of 1: .* has the shape \(\)"),
    Mutant("a width of features that is not theirs", "networks.py", "self.feature_size = width", "self.feature_size = width + 1",
           "shapes", "what features returns", "return nn.functional.leaky_relu"),
    Mutant("an input that is written to", "networks.py", "        check_condition(condition, self.condition_shape)",
           "        z.mul_(2)", "inputs-kept", "writes into"),
    Mutant("a generator of its own", "networks.py", "        hidden = torch.tanh(self.first(joined(z, condition)))",
           "        noise = torch.rand(1, generator=torch.Generator(), device=z.device)\n"
           "        hidden = torch.tanh(self.first(joined(z, condition))) + noise", "same-seed", "generator of its own"),
    Mutant("NumPy's generator", "networks.py", "        hidden = torch.tanh(self.first(joined(z, condition)))",
           "        import numpy as np\n\n        shift = np.random.normal()\n"
           "        hidden = torch.tanh(self.first(joined(z, condition))) + shift", "same-seed", "NumPy's global generator",
           "shift = np.random.normal()"),
    Mutant("a count that is kept", "networks.py", "        hidden = torch.tanh(self.first(joined(z, condition)))",
           "        self.calls = getattr(self, 'calls', 0) + 1\n"
           "        hidden = torch.tanh(self.first(joined(z, condition))) * self.calls", "same-seed", "differs from one call"),
    Mutant("a layer without a use", "networks.py", "        self.head = nn.Linear(width, math.prod(raw_shape))",
           "        self.spare = nn.Linear(2, 2)\n        self.head = nn.Linear(width, math.prod(raw_shape))",
           "gradients", "no gradient reaches its parameter spare.weight"),
    Mutant("a detached code", "networks.py", "        location, log_variance = self.layer(joined(x, condition)).chunk(2, dim=1)",
           "        location, log_variance = self.layer(joined(x, condition)).detach().chunk(2, dim=1)", "gradients",
           "has no gradient", "def forward(self, x: Tensor, condition: Tensor | None = None) -> DiagonalNormal"),
    Mutant("a gradient that is not finite", "networks.py", "        hidden = torch.tanh(self.first(joined(z, condition)))",
           "        hidden = torch.tanh(self.first(joined(z, condition)))\n        hidden = hidden + (hidden * 0).abs().sqrt()",
           "gradients", "not finite", "def forward(self, z"),
    Mutant("a type that is ignored", "networks.py", "return self.head(hidden).reshape(-1, *self.raw_shape)",
           "return self.head(hidden).reshape(-1, *self.raw_shape).float()", "dtype", "torch.float32"),
    Mutant("a device that is ignored", "networks.py", "        check_condition(condition, self.condition_shape)",
           "        z = z + torch.zeros(1)", "device", "torch.zeros makes a tensor on the default device"),
    Mutant("a prior on the default device", "densities.py",
           "        unit = torch.rand(shape, dtype=self.placement.dtype, device=self.placement.device)",
           "        unit = torch.rand(shape)", "device", "torch.rand"),
    Mutant("random weights that are not stored", "networks.py", "        self.raw_shape = tuple(raw_shape)",
           "        self.raw_shape = tuple(raw_shape)\n        self.shift = torch.rand(1)", "state-round-trip", "another shift"),
    Mutant("a buffer that is not stored", "networks.py", "        self.raw_shape = tuple(raw_shape)",
           '        self.raw_shape = tuple(raw_shape)\n        self.register_buffer("shift", torch.rand(1), persistent=False)',
           "state-round-trip", "another shift"),
    Mutant("a shared tensor that is stored twice", "networks.py", "        self.third.weight = self.second.weight",
           "        self.third.weight = nn.Parameter(self.second.weight.data)", "state-round-trip", "share memory"),
]  # fmt: skip

DENSITIES = [
    Mutant("a log_prob that does not integrate to one", "densities.py", "return (-flat - 2 * F.softplus(-flat)).sum(1)",
           "return (-flat - 2 * F.softplus(-flat) + 0.3).sum(1)", "density", "adds up to"),
    Mutant("draws of another width", "densities.py", "        return unit.clamp(1e-6, 1 - 1e-6).logit()",
           "        return 1.15 * unit.clamp(1e-6, 1 - 1e-6).logit()", "density", "do not follow", "def sample(self, count"),
    Mutant("draws outside of the density's support", "densities.py", "return (-flat - 2 * F.softplus(-flat)).sum(1)",
           "return (-flat - 2 * F.softplus(-flat)).sum(1).where((flat < 5).all(1), -math.inf)", "density", "is not finite",
           "def sample(self, count"),
    Mutant("a support that is another", "densities.py", 'support: ClassVar = "real"', 'support: ClassVar = "discrete"',
           "support", "takes a new value"),
    Mutant("a likelihood without its normaliser", "densities.py", "(-distance - self.log_scale - math.log(2))",
           "(-distance - self.log_scale)", "likelihood", "adds up to", "def forward(self, raw"),
    Mutant("a posterior with a density that says it has none", "networks.py", '    """One layer to a Gaussian posterior."""',
           '    """One layer to a Gaussian posterior."""\n\n    deterministic = True', "posterior", "deterministic is True",
           "deterministic = True"),
]  # fmt: skip

CRITIC_VALUE = "        value = ((real_logits - 1).square() + fake_logits.square()).mean()"
OBJECTIVES = [
    Mutant("a loss that is no scalar", "objective.py", "return Loss((logits - 1).square().mean(), {", "return Loss((logits - 1).square(), {",
           "losses", r"of shape \(8,\)"),
    Mutant("a loss that is not finite", "objective.py", CRITIC_VALUE,
           CRITIC_VALUE + "\n        value = value + (fake_logits - fake_logits).sqrt().sum() / 0.0", "losses", "the loss is nan"),
    Mutant("a term that is called like the loss", "objective.py", '{"fake": logits.mean()}', '{"loss": logits.mean()}', "losses",
           "a term is called 'loss'"),
    Mutant("an encoder that was not asked for", "objective.py", CRITIC_VALUE,
           "        self.model.encode(batch.x, batch.condition)\n" + CRITIC_VALUE, "losses", "has no encoder"),
    Mutant("backward in the loss", "objective.py", CRITIC_VALUE, CRITIC_VALUE + "\n        value.backward(retain_graph=True)",
           "work-of-the-engine", r"calls backward\(\)"),
    Mutant("item in the loss", "objective.py", CRITIC_VALUE, CRITIC_VALUE + "\n        value = value + 0 * real_logits.mean().item()",
           "work-of-the-engine", r"calls item\(\)"),
    Mutant("a branch on a tensor", "objective.py", CRITIC_VALUE, CRITIC_VALUE + "\n        value = value if value > 0 else -value",
           "work-of-the-engine", "as `if` does"),
    Mutant("a gradient left behind", "objective.py", CRITIC_VALUE,
           CRITIC_VALUE + "\n        torch.autograd.backward(value, retain_graph=True)", "work-of-the-engine", "leaves a gradient"),
    Mutant("a buffer that the loss changes", "objective.py", CRITIC_VALUE,
           CRITIC_VALUE + "\n        self.noise.mul_(0.99)", "loss-keeps-state", "changes noise"),
    Mutant("a count in the loss", "objective.py", CRITIC_VALUE,
           CRITIC_VALUE + "\n        self.steps = getattr(self, 'steps', 0) + 1", "loss-keeps-state", "changes steps"),
    Mutant("weights that the loss changes", "objective.py", CRITIC_VALUE,
           CRITIC_VALUE + "\n        next(self.model.generator.parameters()).data.mul_(0.9)", "loss-keeps-state",
           r"changes model\.generator"),
    Mutant("rows that the loss changes", "objective.py", "        real = batch.x + self.noise * torch.randn_like(batch.x)",
           "        real = batch.x.add_(self.noise * torch.randn_like(batch.x))", "loss-keeps-state", "the batch's x"),
    Mutant("an objective with a generator of its own", "objective.py",
           "        real = batch.x + self.noise * torch.randn_like(batch.x)",
           "        own = torch.Generator().manual_seed(batch.samples_seen)\n"
           "        real = batch.x + self.noise * torch.randn(batch.x.shape, generator=own, device=batch.x.device)",
           "loss-same-seed", "generator of its own", "real = batch.x + self.noise * torch.randn(batch"),
    Mutant("Python's generator", "objective.py", CRITIC_VALUE,
           CRITIC_VALUE + "\n        import random\n        value = value * random.random()", "loss-same-seed",
           "Python's global generator", "value = value * random.random()"),
    Mutant("NumPy's generator as a global of a module", "objective.py", CRITIC_VALUE,
           CRITIC_VALUE + "\n        from ganvae_specimen import rows\n        value = value * rows.RANDOM.uniform()", "loss-same-seed",
           "RANDOM", "value = value * rows.RANDOM.uniform()"),
    Mutant("a gradient for another phase's module", "objective.py",
           "        fake = self.model.sample(len(batch.x), batch.condition).detach()",
           "        self.model.generator.requires_grad_(True)\n        fake = self.model.sample(len(batch.x), batch.condition)",
           "loss-keeps-state", r"requires_grad of model\.generator"),
    Mutant("a parameter that no loss reaches", "objective.py", "        self.critic = critic(data)",
           "        self.critic = critic(data)\n        self.critic.spare = torch.nn.Linear(2, 2)", "every-parameter-learns",
           r"no phase's loss depends on critic\.spare"),
    Mutant("batch statistics", "objective.py", CRITIC_VALUE,
           "        real_logits = real_logits - fake_logits.mean()\n" + CRITIC_VALUE, "rows", "rows are tied together"),
    Mutant("statistics of draws alone", "objective.py", '        return Loss((logits - 1).square().mean(), {"fake": logits.mean()})',
           '        spread = fake.flatten(1).std(0).mean()\n        return Loss((logits - 1).square().mean() - spread, {"fake": logits.mean()})',
           "rows", "rows are tied together"),
    Mutant("rows in another order", "objective.py", CRITIC_VALUE,
           "        other = fake_logits[torch.randperm(len(fake_logits), device=fake_logits.device)]\n"
           "        value = ((real_logits - 1 - other).square() + fake_logits.square()).mean()", "rows", "rows are tied together"),
    Mutant("a sum over rows", "objective.py", "Loss((logits - 1).square().mean(),", "Loss((logits - 1).square().sum(),", "rows",
           "average over the batch"),
    Mutant("a loss on the default device", "objective.py", CRITIC_VALUE, "        real_logits = real_logits + torch.zeros(len(batch.x))\n" + CRITIC_VALUE,
           "loss-device", "torch.zeros"),
    Mutant("state outside of the state dict", "objective.py", '        self.register_buffer("noise", torch.tensor(noise))',
           "        self.noise = torch.tensor(noise)", "resume", "noise is not what it is without one"),
    Mutant("a count outside of the state dict", "objective.py", "        self.noise.mul_(torch.where(",
           "        self.updates = getattr(self, 'updates', 0) + 1\n        self.noise.mul_(torch.where(", "resume", "updates is not"),
]  # fmt: skip

OTHERS = [
    Mutant("a count of rows that is not theirs", "rows.py", "    def __len__(self) -> int:\n        return ROWS",
           "    def __len__(self) -> int:\n        return ROWS - 1", "specification", "counts 80 rows", "def spec"),
    Mutant("a list for a tuple", "rows.py", '("x", "y")', '["x", "y"]', "specification", "comes back from JSON", "def spec"),
    Mutant("rows of another type", "rows.py", "return self._x[indices], self._arm[indices]",
           "return self._x[indices].astype(np.float64), self._arm[indices]", "rows-of-data", "float64", "def rows"),
    Mutant("rows that change", "rows.py", "return self._x[indices], self._arm[indices]",
           "self._x = self._x + 1\n        return self._x[indices], self._arm[indices]", "rows-of-data", "others when asked",
           "def rows"),
    Mutant("a metric that is a tensor", "watchers.py", "float(made.flatten(1).std(0).mean())", "made.flatten(1).std(0).mean()",
           "results", "not a finite number", "def compute"),
    Mutant("a metric that trains", "watchers.py", "        made = model.sample(len(x), condition)",
           "        model.train()\n        made = model.sample(len(x), condition)", "results", "changes the model", "def compute"),
    Mutant("a callback that changes weights", "watchers.py", "        self.count += 1",
           "        next(engine.objective.parameters()).data.mul_(0.9)\n        self.count += 1", "alters-no-run", "ends with another"),
    Mutant("a state that is not restored", "watchers.py", '        self.count = int(state["count"])', "        self.counted = 1",
           "callback-state", "after a break", "self.count += 1"),
    Mutant("a state that is no JSON", "watchers.py", '        return {"count": self.count}', '        return {"count": {self.count}}',
           "plain-state", "no JSON", "def state_dict"),
    Mutant("a recipe with a component that there is none of", "recipes/specimen.yaml", "critic: plain", "critic: plane",
           "configuration", "there is no critic 'plane'"),
    Mutant("a recipe with an option that there is none of", "recipes/specimen.yaml", "noise: 0.05", "nose: 0.05",
           "configuration", "no option 'nose'"),
    Mutant("a recipe that does not go together", "recipes/specimen.yaml", "observation: point", "observation: bernoulli",
           "smoke-run", "between two bounds"),
]  # fmt: skip

MUTANTS = [*DESCRIPTION, *DECLARATION, *MODULES, *DENSITIES, *OBJECTIVES, *OTHERS]
