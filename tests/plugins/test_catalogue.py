"""Names find what they stand for, and a name that does not says what there is instead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_distributions import Environment

from ganvae_core.errors import ConfigurationError, PluginError
from ganvae_core.plugins import Catalogue, ComponentSpec, KnownPlugin, Plugin, RecipeSpec, discover


def plugin(
    name: str, *components: tuple[str, str], recipes: tuple[str, ...] = (), **fields: object
) -> Plugin:
    specs = tuple(ComponentSpec(kind, part, f"x_{name}.parts:{part}", "a part") for kind, part in components)
    described = tuple(RecipeSpec(recipe, f"{recipe}.yaml", "a recipe") for recipe in recipes)
    values = {
        "state": "ready",
        "reason": "",
        "distribution": f"x-{name}",
        "version": "1.0",
        "entry_point": "x.y",
    }
    return Plugin(name, components=specs, recipes=described, **{**values, **fields})


KNOWN = {
    "swae": KnownPlugin(
        "swae", "ganvae-swae", "ganvae_swae.plugin", "", "pip install ganvae-swae", ("prior/ring",), ()
    )
}
CATALOGUE = Catalogue(
    (
        plugin("builtin", ("prior", "normal"), ("generator", "mlp")),
        plugin("gan", ("objective", "hinge"), ("objective", "minimax"), recipes=("gan",)),
        plugin("ode", ("generator", "mlp"), ("objective", "hinge")),
        plugin("sketch", state="broken", reason="ModuleNotFoundError: no module named 'cairo'"),
        plugin("vae", ("objective", "elbo"), recipes=("vae",)),
    ),
    known=lambda: KNOWN,
)


def test_an_unknown_plugin_gets_the_nearest_name_and_what_is_installed() -> None:
    with pytest.raises(ConfigurationError) as caught:
        CATALOGUE.plugin("vea")
    assert caught.value.message == "there is no plugin 'vea'. Did you mean 'vae'?"
    assert caught.value.hints == ("installed: gan, vae          ganvae plugins list",)


def test_a_plugin_that_only_the_registry_knows_gets_its_install_command() -> None:
    with pytest.raises(ConfigurationError) as caught:
        CATALOGUE.plugin("swae")
    assert "not installed: pip install ganvae-swae" in caught.value.hints


@pytest.mark.parametrize("state", ["disabled", "incompatible", "broken", "conflict"])
def test_a_plugin_that_is_not_ready_is_an_error_of_its_own(state: str) -> None:
    catalogue = Catalogue((plugin("acme", state=state, reason="because"),))
    with pytest.raises(PluginError, match=rf"'acme'.*x-acme 1.0.*{state}: because") as caught:
        catalogue.plugin("acme")
    assert caught.value.exit_code == 3
    assert "ganvae plugins info acme --traceback" in caught.value.hints
    assert catalogue.find("acme").state == state


def test_of_two_claimants_the_ready_one_is_found() -> None:
    catalogue = Catalogue(
        (plugin("acme", state="conflict", reason="reserved"), plugin("acme", version="2.0"))
    )
    assert catalogue.plugin("acme").version == "2.0"


def test_components_are_sorted_by_kind_and_id_and_come_from_ready_plugins_only() -> None:
    ids = [(component.kind, id) for id, component, _ in CATALOGUE.components()]
    assert ids == [
        ("generator", "builtin/mlp"),
        ("generator", "ode/mlp"),
        ("objective", "gan/hinge"),
        ("objective", "gan/minimax"),
        ("objective", "ode/hinge"),
        ("objective", "vae/elbo"),
        ("prior", "builtin/normal"),
    ]
    assert [id for id, _, _ in CATALOGUE.components("prior")] == ["builtin/normal"]


def test_an_unknown_kind_gets_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match=r"'objectiv'. Did you mean 'objective'"):
        CATALOGUE.components("objectiv")


@pytest.mark.parametrize(
    ("kind", "name", "own", "expected"),
    [
        ("objective", "vae/elbo", None, "vae/elbo"),
        ("objective", "vae/elbo", "gan", "vae/elbo"),
        ("objective", "elbo", None, "vae/elbo"),
        ("objective", "hinge", "gan", "gan/hinge"),
        ("objective", "hinge", "ode", "ode/hinge"),
        ("generator", "mlp", "ode", "ode/mlp"),
        ("generator", "mlp", "gan", "builtin/mlp"),
        ("prior", "normal", "ode", "builtin/normal"),
    ],
)
def test_a_name_stands_for(kind: str, name: str, own: str | None, expected: str) -> None:
    id, spec = CATALOGUE.component(kind, name, plugin=own)
    assert id == expected
    assert (spec.kind, spec.name) == (kind, expected.partition("/")[2])


def test_an_ambiguous_name_lists_the_ids() -> None:
    with pytest.raises(ConfigurationError, match=r"gan/hinge, ode/hinge"):
        CATALOGUE.component("objective", "hinge")


def test_a_short_name_in_a_recipe_does_not_reach_other_plugins() -> None:
    with pytest.raises(ConfigurationError, match=r"no objective 'elbo'. Did you mean 'vae/elbo'"):
        CATALOGUE.component("objective", "elbo", plugin="gan")


@pytest.mark.parametrize(
    ("name", "near"), [("elob", "elbo"), ("vae/elob", "vae/elbo"), ("vea/elbo", "vae/elbo")]
)
def test_an_unknown_component_gets_the_nearest_and_the_list(name: str, near: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"no objective '{name}'. Did you mean '{near}'") as caught:
        CATALOGUE.component("objective", name)
    assert "objectives: gan/hinge, gan/minimax, ode/hinge, vae/elbo" in caught.value.hints


def test_a_kind_that_nobody_offers_says_so() -> None:
    with pytest.raises(ConfigurationError) as caught:
        CATALOGUE.component("callback", "tensorboard")
    assert "callbacks: none" in caught.value.hints


def test_a_component_of_a_plugin_that_is_not_ready_is_the_plugin_s_error() -> None:
    with pytest.raises(PluginError, match=r"'sketch'.*cairo") as caught:
        CATALOGUE.component("prior", "sketch/line")
    assert caught.value.hints[0] == "it provides prior 'sketch/line'"


@pytest.mark.parametrize("name", ["ring", "swae/ring"])
def test_a_component_that_only_the_registry_knows_gets_its_install_command(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        CATALOGUE.component("prior", name)
    assert caught.value.hints[0] == "plugin 'swae' is not installed: pip install ganvae-swae"


def test_a_short_name_of_a_known_plugin_that_is_disabled_is_that_plugin_s_error() -> None:
    catalogue = Catalogue((plugin("swae", state="disabled", reason="by wish"),), known=lambda: KNOWN)
    with pytest.raises(PluginError, match=r"'swae'.*disabled"):
        catalogue.component("prior", "ring")


PARTS = """
class flat: pass
"""
MODULE = """
from ganvae_core.plugins import ComponentSpec, RecipeSpec, hookimpl
ganvae_api = 1

@hookimpl
def ganvae_components():
    return [ComponentSpec("prior", n, f"{package}.{m}:{n}", "a part") for m, n in NAMES]

@hookimpl
def ganvae_recipes():
    return [RecipeSpec(name, f"recipes/{name}.yaml", "a recipe") for name in ("acme", "big")]
"""


@pytest.fixture
def acme(environment: Environment) -> Catalogue:
    environment.write("x_acme/recipes/acme.yaml", "latent: {shape: [2]}  # β\n")
    environment.write("x_acme/recipes/big.yaml", "latent: {shape: [9]}\n")
    environment.write("x_acme/parts.py", PARTS)
    environment.write("x_acme/needy.py", "import nonesuch")
    environment.write("x_acme/rude.py", "raise SystemExit('goodbye')")
    names = [("parts", "flat"), ("parts", "gone"), ("needy", "a"), ("rude", "b"), ("nowhere", "c")]
    environment.plugin("acme", MODULE.replace("NAMES", repr(names)).replace('f"{package}', 'f"x_acme'))
    return discover()


def test_load_imports_the_class(acme: Catalogue) -> None:
    _, spec = acme.component("prior", "acme/flat")
    assert acme.load(spec).__name__ == "flat"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone", "AttributeError.*'gone'"),
        ("a", "ModuleNotFoundError.*'nonesuch'"),
        ("b", "SystemExit: goodbye"),
        ("c", "ModuleNotFoundError.*'x_acme.nowhere'"),
    ],
)
def test_what_cannot_be_imported_is_named(name: str, reason: str, acme: Catalogue) -> None:
    _, spec = acme.component("prior", f"acme/{name}")
    with pytest.raises(PluginError, match=rf"prior 'acme/{name}' of x-acme 1.0 cannot be imported: {reason}"):
        acme.load(spec)


def test_the_default_recipe_bears_the_plugin_s_name(acme: Catalogue) -> None:
    spec, text = acme.recipe("acme")
    assert (spec.name, text) == ("acme", "latent: {shape: [2]}  # β\n")
    assert acme.recipe("acme", "big")[1] == "latent: {shape: [9]}\n"


def test_an_unknown_recipe_gets_the_nearest_and_the_list(acme: Catalogue) -> None:
    with pytest.raises(
        ConfigurationError, match=r"'acme' has no recipe 'bigg'. Did you mean 'big'"
    ) as caught:
        acme.recipe("acme", "bigg")
    assert caught.value.hints == ("its recipes: acme, big",)


def test_a_plugin_without_a_default_recipe_says_which_it_has() -> None:
    with pytest.raises(ConfigurationError, match=r"'acme' has no default recipe") as caught:
        Catalogue((plugin("acme", recipes=("big",)),)).recipe("acme")
    assert caught.value.hints == ("its recipes: big",)


def test_a_plugin_without_recipes_says_so() -> None:
    with pytest.raises(ConfigurationError, match=r"'ode' has no recipes") as caught:
        CATALOGUE.recipe("ode")
    assert caught.value.hints == ("plugins with recipes: gan, vae",)


def test_a_recipe_that_vanished_is_the_plugin_s_error(acme: Catalogue, environment: Environment) -> None:
    (environment.folder / "x_acme/recipes/big.yaml").unlink()
    with pytest.raises(PluginError, match=r"recipe 'big' of x-acme 1.0 cannot be read"):
        acme.recipe("acme", "big")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("data/x.npy", ["builtin/array"]),
        ("X.NPZ", ["builtin/array"]),
        ("train-images-idx3-ubyte", ["builtin/idx"]),
        ("t10k-images-idx3-ubyte.gz", ["builtin/idx"]),
        ("t10k-images.idx3-ubyte", ["builtin/idx"]),
        ("table.csv", ["builtin/table"]),
        ("table.parquet", ["builtin/table"]),
        ("holiday/", ["builtin/folder"]),
        ("notes.xyz", []),
        ("csv", []),
    ],
)
def test_a_path_finds_the_sources_that_read_it(path: str, expected: list[str]) -> None:
    assert discover().sources_reading(path) == expected


def test_a_folder_is_a_folder_whatever_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "photos.csv"
    folder.mkdir()
    assert discover().sources_reading(str(folder)) == ["builtin/folder"]


def with_audio(*reads: str) -> Catalogue:
    """The installed plugins, and ``audio`` with a source for such paths."""
    source = ComponentSpec("source", "recordings", "x_audio.source:Recordings", "sound files", reads)
    return Catalogue((*discover().plugins, replace(plugin("audio"), components=(source,))))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["a.mid"], ["audio/recordings"]),
        (["deep/er/a.MID", "notes.txt"], ["audio/recordings"]),
        (["cats/a.JPEG"], ["builtin/folder"]),
        (["a.mid", "cover.png"], ["audio/recordings", "builtin/folder"]),
        ([".a.mid"], ["builtin/folder"]),
        ([], ["builtin/folder"]),
    ],
)
def test_the_files_in_a_folder_say_which_source_reads_it(
    files: list[str], expected: list[str], tmp_path: Path
) -> None:
    for name in files:
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "data").mkdir(exist_ok=True)
    assert with_audio("*/**/*.mid").sources_reading(str(tmp_path / "data")) == expected


@pytest.mark.parametrize("reads", ["*/**/*.mid", "*/"])
def test_a_recipes_own_source_is_taken_where_several_read_a_folder(reads: str, tmp_path: Path) -> None:
    for name in ("a.mid", "cover.png"):
        (tmp_path / name).touch()
    catalogue = with_audio(reads)
    assert catalogue.sources_reading(str(tmp_path), "audio") == ["audio/recordings"]
    assert "builtin/folder" in catalogue.sources_reading(str(tmp_path), "vae")
